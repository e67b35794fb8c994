//! What nodes say of themselves, all in one bucket.

use super::writer::Step;
use super::{Shared, scripts};
use crate::StoreError;
use bytes::Bytes;
use std::sync::Arc;

/// Theirs.
const BUCKET: u8 = 0;

impl Shared {
    pub(super) async fn beat(
        &self,
        says: Option<(Arc<str>, Bytes)>,
    ) -> Result<Vec<(Arc<str>, Bytes)>, StoreError> {
        let mut script = self.script(&scripts::BEAT, BUCKET);
        if let Some((node, says)) = &says {
            script.arg(&**node).arg(&**says);
        }
        let mut reply = self.link.run(Step::urgent("beat"), script).await?;
        reply.text()?;
        let mut all = Vec::new();
        while !reply.is_over() {
            all.push((reply.text()?.into(), reply.bytes()?));
        }
        all.sort();
        Ok(all)
    }

    pub(super) async fn forget_node(&self, node: &str) -> Result<bool, StoreError> {
        let mut script = self.script(&scripts::FORGET, BUCKET);
        script.arg(node);
        let mut reply = self.link.run(Step::urgent("forget a node"), script).await?;
        reply.text()?;
        Ok(reply.number::<u32>()? > 0)
    }
}
