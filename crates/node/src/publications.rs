//! A gateway's publication in the store: read when its actor starts, written before it is answered.

use crate::gateway_actor::GatewayMessage;
use crate::gateway_care::CareMessage;
use crate::shared::Shared;
use bytes::Bytes;
use ractor::ActorRef;
use std::sync::Arc;
use std::time::Duration;
use tandem_cluster::journal::{Kind, Name};
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
    pub(crate) revision: Revision,
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
    shared: Arc<Shared>,
    key: GatewayName,
    actor: ActorRef<GatewayMessage>,
    /// What is known of it; `None` before the store was read.
    seen: Option<Option<Revision>>,
    /// What the gateway has published last.
    current: Option<Publication>,
    /// Whether the store does not have it: it was away, or has lost it.
    is_unsaved: bool,
}

impl Publications {
    pub(crate) fn of(shared: Arc<Shared>, key: GatewayName, actor: ActorRef<GatewayMessage>) -> Self {
        let kept = shared.journal.as_ref().and_then(|journal| journal.get(&name_of(&key)));
        let current: Option<Publication> = kept.and_then(|kept| codec::decode(&kept).ok());
        Self { shared, key, actor, seen: None, is_unsaved: current.is_some(), current }
    }

    /// Whether the store has been read.
    pub(crate) fn is_known(&self) -> bool {
        self.seen.is_some()
    }

    /// Reads the document, for as long as it takes; what it holds comes as a message. `lost`: it may be older than what is known.
    pub(crate) fn load(&self, lost: bool) {
        let (store, key, actor) = (self.shared.store.clone(), self.key.clone(), self.actor.clone());
        tokio::spawn(async move {
            let document = loop {
                match tokio::time::timeout(STORE_LIMIT, store.get(Space::Publications, &key)).await {
                    Ok(Ok(document)) => break document,
                    Ok(Err(_)) | Err(_) => tokio::time::sleep(ASK_AGAIN).await,
                }
            };
            let saved = document.and_then(|document| read(&key, &document));
            // An actor that has gone is started anew, and reads again.
            let _ = actor.cast(GatewayMessage::Care(CareMessage::Loaded { saved, lost }));
        });
    }

    /// Takes note of what the store holds; gives back what is news. What it has lost, or has not had yet, it is given.
    pub(crate) fn loaded(&mut self, saved: Option<Saved>, lost: bool) -> Option<Publication> {
        let is_first = self.seen.is_none();
        let may_be_older = lost || self.is_unsaved;
        let is_older = |saved: &Saved, current: &Publication| current.refreshed > saved.publication.refreshed;
        match (saved, &self.current) {
            (None, None) => {
                self.seen = Some(None);
                None
            }
            (None, Some(current)) => {
                let news = is_first.then(|| current.clone());
                self.seen = Some(None);
                self.restore();
                news
            }
            (Some(saved), Some(current)) if may_be_older && is_older(&saved, current) => {
                let news = is_first.then(|| current.clone());
                self.seen = Some(Some(saved.revision));
                self.restore();
                news
            }
            (Some(Saved { revision, .. }), _) if self.seen.flatten() >= Some(revision) => None,
            (Some(Saved { publication, revision }), _) => {
                self.saved(revision);
                self.current = Some(publication.clone());
                Some(publication)
            }
        }
    }

    /// The store has what is known, at that revision.
    pub(crate) fn saved(&mut self, revision: Revision) {
        self.seen = Some(Some(revision));
        self.is_unsaved = false;
        if let Some(journal) = &self.shared.journal {
            journal.done(&name_of(&self.key));
        }
    }

    /// The journal has it, and the store is yet to be given it.
    pub(crate) fn journalled(&mut self, publication: Publication) {
        self.current = Some(publication);
        self.is_unsaved = true;
    }

    fn restore(&mut self) {
        self.is_unsaved = true;
        if let Some(current) = &self.current {
            self.save(current.clone(), true);
        }
    }

    /// Puts a publication that the store does not take into the journal; how that went comes as a message.
    pub(crate) fn journal(&self, publication: Publication) {
        let (shared, name, actor) = (self.shared.clone(), name_of(&self.key), self.actor.clone());
        tokio::spawn(async move {
            let is_written = match (&shared.journal, codec::encode(&publication)) {
                (Some(journal), Ok(value)) => journal.write(name, value).await.is_ok(),
                (_, _) => false,
            };
            // An actor that has gone is started anew, and takes the journal up.
            let message = CareMessage::Journalled { publication: Box::new(publication), is_written };
            let _ = actor.cast(GatewayMessage::Care(message));
        });
    }

    /// Writes the document; how that went comes as a message.
    pub(crate) fn save(&self, publication: Publication, restores: bool) {
        let (store, key, actor) = (self.shared.store.clone(), self.key.clone(), self.actor.clone());
        let seen = self.seen.flatten();
        tokio::spawn(async move {
            let result = write(&*store, key, seen, publication).await;
            // An actor that has gone is started anew, and reads what was written.
            let _ = actor.cast(GatewayMessage::Care(CareMessage::Stored { result, restores }));
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

/// What the journal calls a gateway's publication.
fn name_of(gateway: &GatewayName) -> Name {
    Name { kind: Kind::Publication, of: Bytes::copy_from_slice(gateway.as_bytes()) }
}

/// Tells the actors of gateways whose publications are written, by whichever node.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let mut changes = shared.store.changes(Space::Publications);
    let mut contact = shared.store.contact();
    let mut lives = contact.borrow_and_update().lives;
    loop {
        let reload = |handle: &Arc<crate::gateway_actor::GatewayHandle>| {
            handle.tell(GatewayMessage::Care(CareMessage::Reload { lost: false }));
        };
        let changed = tokio::select! {
            changed = changes.recv() => changed,
            changed = contact.wait_for(|contact| contact.lives != lives) => {
                let Ok(now) = changed.map(|contact| contact.lives) else { return };
                lives = now;
                for handle in shared.configured().gateways.values() {
                    handle.tell(GatewayMessage::Care(CareMessage::Reload { lost: true }));
                }
                continue;
            }
        };
        match changed {
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
