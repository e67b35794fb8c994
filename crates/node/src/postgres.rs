//! CDRs into PostgreSQL: a row for each record, once, however often it is written.

use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tandem_store::CallKey;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long connecting and each statement may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Why records are not in the table.
#[derive(Debug, Error)]
pub enum PostgresError {
    /// The URL, which is not repeated: it may hold a password.
    #[error("the URL: {0}")]
    Url(tokio_postgres::Error),
    /// Whom to trust cannot be read.
    #[error("ca: {0}")]
    Ca(rustls::pki_types::pem::Error),
    /// A certificate that cannot be used.
    #[error("certificates: {0}")]
    Tls(#[from] rustls::Error),
    /// The server refuses, or the connection broke.
    #[error("{}", with_cause(.0))]
    Server(#[from] tokio_postgres::Error),
    /// The server is silent.
    #[error("no answer within {} s", LIMIT.as_secs())]
    TooLate,
    /// A record that is no JSON.
    #[error("a record cannot be read: {0}")]
    Record(#[from] serde_json::Error),
}

/// What the server says, too: the library's own words are few.
fn with_cause(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{}: {}", said.code().code(), said.message()),
        None => {
            let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
            causes.fold(error.to_string(), |said, cause| format!("{said}: {cause}"))
        }
    }
}

/// A table.
pub(crate) struct Postgres {
    config: Config,
    table: String,
    ca: Option<PathBuf>,
    /// The connection, once there is one and as long as it holds.
    client: Mutex<Option<Client>>,
}

impl Postgres {
    /// A table at that URL. Whether it can be written shows when it is.
    ///
    /// # Errors
    /// The URL is none.
    pub(crate) fn new(url: &str, table: &str, ca: Option<PathBuf>) -> Result<Self, PostgresError> {
        let mut config: Config = url.parse().map_err(PostgresError::Url)?;
        config.connect_timeout(LIMIT).application_name("tandem");
        Ok(Self { config, table: table.to_owned(), ca, client: Mutex::default() })
    }

    /// What the sink is called, without what it is let in by.
    pub(crate) fn name(&self) -> String {
        let hosts: Vec<_> = self.config.get_hosts().iter().map(|host| format!("{host:?}")).collect();
        let database = self.config.get_dbname().unwrap_or_default();
        format!("postgresql:{}/{database}/{}", hosts.join(","), self.table)
    }

    /// Writes records; those that are there already stay as they are. All of them or none.
    ///
    /// # Errors
    /// They may be there all the same, and can be written again.
    pub(crate) async fn write(&self, records: &[(CallKey, Bytes)]) -> Result<(), PostgresError> {
        let rows = rows(records)?;
        let mut held = self.client.lock().await;
        let client = match held.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => timeout(LIMIT, self.connect()).await.unwrap_or(Err(PostgresError::TooLate))?,
        };
        if !records.is_empty() {
            let insert = self.insert();
            let written = timeout(LIMIT, client.execute(&insert, &[&rows])).await;
            written.map_err(|_| PostgresError::TooLate)??;
        }
        // One that has failed is not asked again.
        *held = Some(client);
        Ok(())
    }

    async fn connect(&self) -> Result<Client, PostgresError> {
        let tls = MakeRustlsConnect::new(self.tls()?);
        let (client, connection) = self.config.connect(tls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to PostgreSQL has broken");
            }
        });
        client.batch_execute(&self.table_if_missing()).await?;
        Ok(client)
    }

    fn tls(&self) -> Result<ClientConfig, PostgresError> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(ca) => {
                for certificate in CertificateDer::pem_file_iter(ca).map_err(PostgresError::Ca)? {
                    roots.add(certificate.map_err(PostgresError::Ca)?)?;
                }
            }
            None => {
                let _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }

    fn table_if_missing(&self) -> String {
        let table = &self.table;
        format!(
            "SET client_min_messages TO warning;
             CREATE TABLE IF NOT EXISTS {table} (
                 id text PRIMARY KEY,
                 record text NOT NULL,
                 call_id text NOT NULL,
                 node text,
                 mapping_gateway text,
                 routing_gateway text,
                 caller text,
                 called text,
                 called_out text,
                 started_at timestamptz,
                 ringing_at timestamptz,
                 answered_at timestamptz,
                 ended_at timestamptz,
                 pdd_ms bigint,
                 duration_ms bigint,
                 ended_by text,
                 end_reason text,
                 sip_status integer,
                 codec text,
                 data jsonb NOT NULL
             )"
        )
    }

    fn insert(&self) -> String {
        let table = &self.table;
        format!(
            "INSERT INTO {table} (id, record, call_id, node, mapping_gateway, routing_gateway, caller, called, called_out,
                 started_at, ringing_at, answered_at, ended_at, pdd_ms, duration_ms, ended_by, end_reason, sip_status,
                 codec, data)
             SELECT row ->> 'key', data ->> 'record', data ->> 'id', data -> 'nodes' ->> -1, data ->> 'mapping_gateway',
                 coalesce(data ->> 'routing_gateway', data ->> 'gateway'), data ->> 'caller', data ->> 'called',
                 data ->> 'called_out', (data ->> 'started_at')::timestamptz, (data ->> 'ringing_at')::timestamptz,
                 (data ->> 'answered_at')::timestamptz, (data ->> 'ended_at')::timestamptz, (data ->> 'pdd_ms')::bigint,
                 (data ->> 'duration_ms')::bigint, data ->> 'ended_by', data ->> 'end_reason',
                 coalesce(data ->> 'sip_status', data ->> 'status')::integer, data ->> 'codec', data
             FROM jsonb_array_elements($1::text::jsonb) AS row, LATERAL (SELECT row -> 'data' AS data) AS record
             ON CONFLICT (id) DO NOTHING"
        )
    }
}

/// The rows of records, as a JSON array: the first line of each is the call's, the others are of single attempts.
fn rows(records: &[(CallKey, Bytes)]) -> Result<String, serde_json::Error> {
    let mut rows = Vec::new();
    for (_, lines) in records {
        for (number, line) in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
            let data: Value = serde_json::from_slice(line)?;
            let id = data["id"].as_str().unwrap_or_default();
            let key = if number == 0 { id.to_owned() } else { format!("{id}/{number}") };
            rows.push(json!({ "key": key, "data": data }));
        }
    }
    // A text of PostgreSQL cannot hold it; whoever has sent it meant no good.
    Ok(Value::Array(rows).to_string().replace("\\u0000", "\\ufffd"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_a_record_is_a_row_of_its_own() {
        let lines =
            "{\"record\":\"call\",\"id\":\"a\"}\n{\"record\":\"attempt\",\"id\":\"a\",\"x\":\"\\u0000\"}";
        let key = CallKey { bucket: 0, id: [0; 12] };
        let rows: Value = serde_json::from_str(&rows(&[(key, lines.into())]).expect("rows")).expect("JSON");
        assert_eq!(rows[0]["key"], "a");
        assert_eq!((&rows[1]["key"], &rows[1]["data"]["x"]), (&json!("a/1"), &json!("\u{fffd}")));
    }

    #[test]
    fn a_sink_is_named_without_its_password() {
        let url = "postgresql://tandem:s3cret@db.example:5433/billing?sslmode=require";
        let name = Postgres::new(url, "cdr", None).expect("a URL").name();
        assert!(name.contains("db.example") && name.ends_with("/billing/cdr"), "{name}");
        assert!(!name.contains("s3cret"));
        let wrong = Postgres::new("postgresql://u:s3cret@db:port/x", "cdr", None).err().expect("no URL");
        assert!(!wrong.to_string().contains("s3cret"), "{wrong}");
    }
}
