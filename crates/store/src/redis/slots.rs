//! Slots of gateways in Redis: a sorted set for each, by when they lapse.

use super::documents::bucket_of;
use super::scripts::{Invocation, Lua};
use super::writer::Step;
use super::{Shared, scripts};
use crate::{SLOT_GRACE, SLOT_LEASE, SlotTake, StoreError, Taken};
use std::sync::Arc;

/// Holders that are renewed by one script.
const RENEWED_AT_ONCE: usize = 500;

impl Shared {
    fn of_gateway(&self, script: &'static Lua, gateway: &str) -> Invocation {
        let mut script = self.script(script, bucket_of(gateway));
        script.arg(gateway).arg(SLOT_LEASE.as_millis() as u64);
        script
    }

    pub(super) async fn take_slot(&self, take: SlotTake) -> Result<Taken, StoreError> {
        let limit = |limit: Option<u32>| limit.map(|limit| limit.to_string()).unwrap_or_default();
        let mut script = self.of_gateway(&scripts::SLOT_TAKE, &take.gateway);
        script.arg(&*take.holder).arg(limit(take.max_calls)).arg(limit(take.cps)).arg(take.burst);
        script.arg(SLOT_GRACE.as_millis() as u64);
        let mut reply = self.link.run(Step::urgent("take a slot"), script).await?;
        let (word, held) = (reply.text()?, reply.number()?);
        match word.as_str() {
            "taken" => Ok(Taken::Yes { held }),
            "calls" => Ok(Taken::AtMaxCalls { held }),
            "cps" => Ok(Taken::AtCps { held }),
            "unsure" => Ok(Taken::Unsure { held }),
            _ => Err(reply.unreadable()),
        }
    }

    pub(super) async fn renew_slots(&self, gateway: &str, holders: Vec<Arc<str>>) -> Result<u32, StoreError> {
        let mut rest = &holders[..];
        loop {
            let (some, others) = rest.split_at(rest.len().min(RENEWED_AT_ONCE));
            let mut script = self.of_gateway(&scripts::SLOT_RENEW, gateway);
            some.iter().for_each(|holder| {
                script.arg(&**holder);
            });
            let mut reply = self.link.run(Step::lazy("renew slots"), script).await?;
            reply.text()?;
            if others.is_empty() {
                return reply.number();
            }
            rest = others;
        }
    }

    pub(super) async fn release_slot(&self, gateway: &str, holder: &str) -> Result<(), StoreError> {
        let mut script = self.of_gateway(&scripts::SLOT_RELEASE, gateway);
        script.arg(holder);
        self.link.run(Step::lazy("release a slot"), script).await.map(drop)
    }
}
