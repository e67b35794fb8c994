//! What nodes say of themselves, all in one bucket.

use super::writer::Step;
use super::{Shared, scripts};
use crate::{Beaten, StoreError};
use bytes::Bytes;
use std::sync::Arc;
use tandem_sip::time::Wall;

/// Theirs.
const BUCKET: u8 = 0;

impl Shared {
    pub(super) async fn beat(&self, says: Option<(Arc<str>, Bytes)>) -> Result<Beaten, StoreError> {
        let mut script = self.script(&scripts::BEAT, BUCKET);
        if let Some((node, says)) = &says {
            script.arg(&**node).arg(&**says);
        }
        let mut reply = self.link.run(Step::urgent("beat"), script).await?;
        reply.text()?;
        let (seconds, micros) = (reply.number::<i64>()?, reply.number::<i64>()?);
        let at = u64::try_from(seconds * 1_000 + micros / 1_000).map_err(|_| reply.unreadable())?;
        let mut all = Vec::new();
        while !reply.is_over() {
            all.push((reply.text()?.into(), reply.bytes()?));
        }
        all.sort();
        Ok(Beaten { at: Some(Wall(at)), nodes: all })
    }

    pub(super) async fn forget_node(&self, node: &str) -> Result<bool, StoreError> {
        let mut script = self.script(&scripts::FORGET, BUCKET);
        script.arg(node);
        let mut reply = self.link.run(Step::urgent("forget a node"), script).await?;
        reply.text()?;
        Ok(reply.number::<u32>()? > 0)
    }
}
