//! A gateway's publication in the store: read when its actor starts, written before it is answered.

use crate::gateway_actor::GatewayMessage;
use crate::gateway_care::CareMessage;
use crate::shared::Shared;
use ractor::ActorRef;
use std::sync::Arc;
use std::time::Duration;
use tandem_store::codec::{self, CodecError};
use tandem_store::{Changed, Document, Put, Revision, Space, Store, StoreError};
use tandem_switch::gateway::GatewayName;
use tandem_switch::publication::Publication;
use thiserror::Error;
use tokio::sync::broadcast::error::RecvError;

/// How long the store may take.
const STORE_LIMIT: Duration = Duration::from_secs(2);

/// How long after a failure it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A publication as the store holds it.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) publication: Publication,
    revision: Revision,
}

/// Why a publication was not stored.
#[derive(Debug, Error)]
pub(crate) enum SaveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("the store takes longer than {STORE_LIMIT:?}")]
    TooLate,
}

/// The document of one gateway.
pub(crate) struct Publications {
    store: Arc<dyn Store>,
    key: GatewayName,
    actor: ActorRef<GatewayMessage>,
    /// What is known of it; `None` before the store was read.
    seen: Option<Option<Revision>>,
}

impl Publications {
    pub(crate) fn of(store: Arc<dyn Store>, key: GatewayName, actor: ActorRef<GatewayMessage>) -> Self {
        Self { store, key, actor, seen: None }
    }

    /// Whether the store has been read.
    pub(crate) fn is_known(&self) -> bool {
        self.seen.is_some()
    }

    /// Reads the document, for as long as it takes; what it holds comes as a message.
    pub(crate) fn load(&self) {
        let (store, key, actor) = (self.store.clone(), self.key.clone(), self.actor.clone());
        tokio::spawn(async move {
            let document = loop {
                match tokio::time::timeout(STORE_LIMIT, store.get(Space::Publications, &key)).await {
                    Ok(Ok(document)) => break document,
                    Ok(Err(_)) | Err(_) => tokio::time::sleep(ASK_AGAIN).await,
                }
            };
            let saved = document.and_then(|document| read(&key, &document));
            // An actor that has gone is started anew, and reads again.
            let _ = actor.cast(GatewayMessage::Care(CareMessage::Loaded(saved)));
        });
    }

    /// Takes note of what the store holds; gives back what is news.
    pub(crate) fn loaded(&mut self, saved: Option<Saved>) -> Option<Publication> {
        let Some(Saved { publication, revision }) = saved else {
            self.seen.get_or_insert(None);
            return None;
        };
        if self.seen.flatten().is_some_and(|seen| seen >= revision) {
            return None;
        }
        self.seen = Some(Some(revision));
        Some(publication)
    }

    /// Writes the document; how that went comes as a message.
    pub(crate) fn save(&self, publication: Publication) {
        let (store, key, actor) = (self.store.clone(), self.key.clone(), self.actor.clone());
        let seen = self.seen.flatten();
        tokio::spawn(async move {
            let result = write(&*store, key, seen, publication).await;
            // An actor that has gone is started anew, and reads what was written.
            let _ = actor.cast(GatewayMessage::Care(CareMessage::Stored(result)));
        });
    }
}

async fn write(
    store: &dyn Store,
    key: GatewayName,
    seen: Option<Revision>,
    publication: Publication,
) -> Result<Saved, SaveError> {
    // It stays when it lapses: that it has lapsed is what is to be known of it.
    let value = Some(codec::encode(&publication)?);
    let put = Put { space: Space::Publications, key, seen, value, lapses: None };
    let written = tokio::time::timeout(STORE_LIMIT, store.put(put)).await;
    let revision = written.map_err(|_| SaveError::TooLate)??;
    Ok(Saved { publication, revision })
}

fn read(key: &GatewayName, document: &Document) -> Option<Saved> {
    match codec::decode(&document.value) {
        Ok(publication) => Some(Saved { publication, revision: document.revision }),
        Err(error) => {
            tracing::error!(gateway = %key, %error, "cannot read a publication; it is taken for none");
            None
        }
    }
}

/// Tells the actors of gateways whose publications are written, by whichever node.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let mut changes = shared.store.changes(Space::Publications);
    loop {
        let reload = |handle: &Arc<crate::gateway_actor::GatewayHandle>| {
            handle.tell(GatewayMessage::Care(CareMessage::Reload));
        };
        match changes.recv().await {
            // Any may have changed.
            Ok(changed) if changed.is_any() => shared.configured().gateways.values().for_each(reload),
            Ok(Changed { key, .. }) => {
                shared.configured().gateways.get(&key).into_iter().for_each(reload);
            }
            Err(RecvError::Lagged(_)) => shared.configured().gateways.values().for_each(reload),
            Err(RecvError::Closed) => return,
        }
    }
}
