//! A phone that registers.

use crate::agent::{Agent, text, unique};
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};
use tandem_sip::digest::{Challenge, Hash, Issuer, Protected};
use tandem_sip::{Builder, Message, Method, Name};

/// A phone with an account. Its Call-ID and its order are its own.
pub(crate) struct Phone {
    pub(crate) agent: Agent,
    registrar: SocketAddr,
    /// Whom it registers.
    pub(crate) aor_user: String,
    user: String,
    password: String,
    /// The algorithm that it knows.
    pub(crate) hash: Hash,
    /// What it was asked last, and how often it has answered that.
    pub(crate) challenge: Option<(Challenge, u32)>,
    number: u32,
    cseq: u32,
}

impl Phone {
    pub(crate) async fn at(host: &str, registrar: SocketAddr, user: &str, password: &str) -> Phone {
        Phone {
            agent: Agent::at(host).await,
            registrar,
            aor_user: user.to_owned(),
            user: user.to_owned(),
            password: password.to_owned(),
            hash: Hash::Sha256,
            challenge: None,
            number: unique(),
            cseq: 0,
        }
    }

    /// Its Contact line.
    pub(crate) fn contact(&self, params: &str) -> String {
        format!("<sip:{}@{}>{params}", self.user, self.agent.address)
    }

    /// The next REGISTER, with credentials if it was challenged.
    pub(crate) fn next(&mut self, lines: &[(Name, &str)]) -> Bytes {
        self.cseq += 1;
        let Phone { registrar, aor_user, number, cseq, .. } = self;
        let host = match registrar.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let (uri, aor) = (format!("sip:{host}"), format!("<sip:{aor_user}@{host}>"));
        let mut request = Builder::request(Method::Register, uri.as_bytes())
            .header(
                Name::Via,
                format!("SIP/2.0/UDP {};branch=z9hG4bK-{number}-{cseq};rport", self.agent.address),
            )
            .header(Name::MaxForwards, "70")
            .header(Name::From, format!("{aor};tag=phone-{number}"))
            .header(Name::To, aor)
            .header(Name::CallId, format!("phone-{number}"))
            .header_fmt(Name::CSeq, format_args!("{cseq} REGISTER"));
        for (name, value) in lines {
            request = request.header(*name, value);
        }
        if let Some((challenge, count)) = &mut self.challenge {
            *count += 1;
            let protected = Protected { method: "REGISTER", uri: &uri, body: b"" };
            let answer = challenge.answer((&self.user, &self.password), protected, "cnonce", *count);
            request = request.header(Name::Authorization, answer);
        }
        request.finish()
    }

    /// Sends it, and waits for the answer.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Message {
        self.agent.send(request, self.registrar).await;
        self.answer().await
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self) -> Message {
        self.agent.wait("answer", |message| !message.is_request()).await.0
    }

    /// Sends a REGISTER; a challenge is answered once.
    pub(crate) async fn register(&mut self, lines: &[(Name, &str)]) -> Message {
        let request = self.next(lines);
        let answer = self.send(&request).await;
        if !self.take_challenge(&answer) {
            return answer;
        }
        let request = self.next(lines);
        self.send(&request).await
    }

    /// Whether an answer is a challenge, which is kept.
    pub(crate) fn take_challenge(&mut self, answer: &Message) -> bool {
        let fields = answer.fields().filter(|field| field.name == Name::WwwAuthenticate);
        let mut challenges = fields.filter_map(|field| Challenge::parse(Issuer::UserAgent, field.value).ok());
        let ours = challenges.find(|challenge| challenge.algorithm().hash == self.hash);
        self.challenge = ours.map(|challenge| (challenge, 0)).or(self.challenge.take());
        answer.status().is_some_and(|status| status.code() == 401)
    }

    /// Registers its own address, and has to be let in.
    pub(crate) async fn binds(&mut self, params: &str) -> Message {
        let contact = self.contact(params);
        let answer = self.register(&[(Name::Contact, &contact)]).await;
        assert_eq!(status(&answer), 200, "{}", text(answer.raw()));
        answer
    }
}

/// An answer's status.
pub(crate) fn status(answer: &Message) -> u16 {
    answer.status().expect("an answer").code()
}

/// The values of a header.
pub(crate) fn values(answer: &Message, name: Name) -> Vec<String> {
    answer.items(name).map(text).collect()
}
