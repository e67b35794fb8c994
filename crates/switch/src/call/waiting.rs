//! The gateways that are still to be tried, as a snapshot has them: parameters that several share are written once.

use super::action::Candidate;
use super::moving::Home;
use crate::parameters::AttemptParameters;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting {
    parameters: Vec<Arc<AttemptParameters>>,
    /// In order, each with the place of its parameters.
    candidates: Vec<Candidate<u8>>,
}

impl Waiting {
    pub(super) fn pack<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Self {
        let mut parameters: Vec<Arc<AttemptParameters>> = Vec::new();
        let mut pack = |candidate: &Candidate| {
            let own = &candidate.parameters;
            let known = parameters.iter().position(|known| Arc::ptr_eq(known, own) || known == own);
            let place = known.unwrap_or_else(|| {
                parameters.push(own.clone());
                parameters.len() - 1
            });
            candidate.clone().with_parameters(place as u8)
        };
        let candidates = candidates.map(&mut pack).collect();
        Self { parameters, candidates }
    }

    pub(super) fn move_to(&mut self, home: &Home<'_>) {
        self.candidates.iter_mut().for_each(|candidate| candidate.move_to(home));
    }

    pub(super) fn unpack(self) -> impl Iterator<Item = Candidate> {
        let Self { parameters, candidates } = self;
        candidates.into_iter().filter_map(move |candidate| {
            let own = parameters.get(usize::from(candidate.parameters))?.clone();
            Some(candidate.with_parameters(own))
        })
    }
}
