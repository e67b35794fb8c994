//! Registrations that are acknowledged while the store is away: the journal has them until the store does.

use crate::registrar_actor::{RegistrarMessage, Shard, Whose, Writing};
use bytes::Bytes;
use tandem_cluster::journal::{Kind, Name};
use tandem_sip::time::{Now, Wall};
use tandem_store::{StoreError, codec};
use tandem_switch::registrar::{Aor, Bindings};
use tandem_telemetry::Registration;

/// What the journal calls an address of record.
fn name_of(aor: &Aor) -> Name {
    Name { kind: Kind::Registration, of: Bytes::copy_from_slice(aor.as_str().as_bytes()) }
}

impl Shard {
    /// Whether bindings can be acknowledged without the store: not where one is taken away, which the store would bring back.
    pub(crate) fn may_be_journalled(&self, aor: &Aor, next: &Bindings, now: Wall) -> bool {
        let known = self.entries.get(aor).map(|entry| &entry.bindings);
        self.shared.journal.is_some() && known.is_none_or(|known| next.keeps_all_of(known, now))
    }

    /// Puts bindings that the store does not take into the journal; how that went comes as a message.
    pub(crate) fn journal(&mut self, aor: Aor, next: Bindings, whose: Whose) {
        let (shared, myself, name) = (self.shared.clone(), self.myself.clone(), name_of(&aor));
        let value = codec::encode(&next);
        self.writing.insert(aor.clone(), Writing::new(next, whose));
        tokio::spawn(async move {
            let is_written = match (&shared.journal, value) {
                (Some(journal), Ok(value)) => {
                    let written = journal.write(name, value).await;
                    let complain = |error: &_| {
                        if shared.complaints.may_be_logged(shared.clock.mono()) {
                            tracing::error!(%error, "the journal does not take registrations");
                        }
                    };
                    written.inspect_err(complain).is_ok()
                }
                (_, _) => false,
            };
            // A shard that has failed meanwhile takes the journal up when it starts again.
            let _ = myself.cast(RegistrarMessage::Journalled { aor, is_written });
        });
    }

    pub(crate) fn on_journalled(&mut self, aor: Aor, is_written: bool, now: Now) {
        let Some(Writing { next, whose, waiting, .. }) = self.writing.remove(&aor) else { return };
        match whose {
            Whose::Registering { register, accepted, .. } if is_written => {
                self.count(Registration::Changed);
                self.confirm(&register, &next, accepted, now.wall);
                // The store is given it when it answers again.
                self.replace(&aor, next, None);
                self.following.to_restore.push_back(aor);
            }
            whose => self.on_failure(&StoreError::Away { step: "put" }, whose, now),
        }
        for register in waiting {
            self.register(register, false, now);
        }
    }

    /// Takes up what was acknowledged before the shard was started and the store does not have yet.
    pub(crate) fn take_up_journal(&mut self, place: usize, now: Now) {
        let Some(journal) =
            self.shared.clone().journal.as_ref().map(|journal| journal.all(Kind::Registration))
        else {
            return;
        };
        for (name, value) in journal {
            let aor = std::str::from_utf8(&name.of).ok().and_then(Aor::parse);
            let Some(aor) = aor.filter(|aor| self.shared.registrar.shard_of(aor) == place) else { continue };
            let mut bindings = self.shared.decoded(aor.as_str(), &value, now.wall);
            if let Some(entry) = self.entries.get(&aor) {
                bindings = bindings.merge(&entry.bindings);
            }
            match bindings.bindings.is_empty() {
                true => self.is_stored(&aor),
                false => {
                    let revision = self.entries.get(&aor).and_then(|entry| entry.revision);
                    self.replace(&aor, bindings, revision);
                    self.following.to_restore.push_back(aor);
                }
            }
        }
    }

    /// The store has what there is of an address of record.
    pub(crate) fn is_stored(&self, aor: &Aor) {
        if let Some(journal) = &self.shared.journal {
            journal.done(&name_of(aor));
        }
    }
}
