//! Who may register.

use crate::gateway::GatewayName;
use std::collections::HashMap;
use std::sync::Arc;
use tandem_sip::digest::Ha1;

/// A phone or PBX with an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The user part of its address of record, and its name in credentials.
    pub user: Arc<str>,
    /// What its credentials are checked with.
    pub ha1: Ha1,
    /// The number that it is called by.
    pub number: Option<String>,
    /// The customer that it belongs to: whose limits, parameters and number rules its calls have.
    pub mapping_gateway: Option<GatewayName>,
}

/// All endpoints, by user and by number.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    all: Vec<Arc<Endpoint>>,
    by_user: HashMap<Arc<str>, Arc<Endpoint>>,
    by_number: HashMap<String, Arc<Endpoint>>,
}

impl Endpoints {
    /// These endpoints. Where two have the same user or number, the first has it.
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        let mut all = Self::default();
        for endpoint in endpoints {
            let endpoint = Arc::new(endpoint);
            if let Some(number) = &endpoint.number {
                all.by_number.entry(number.clone()).or_insert_with(|| endpoint.clone());
            }
            all.by_user.entry(endpoint.user.clone()).or_insert_with(|| endpoint.clone());
            all.all.push(endpoint);
        }
        all
    }

    /// The endpoint of a user.
    pub fn by_user(&self, user: &str) -> Option<&Arc<Endpoint>> {
        self.by_user.get(user)
    }

    /// The endpoint that is called by a number.
    pub fn by_number(&self, number: &str) -> Option<&Arc<Endpoint>> {
        self.by_number.get(number)
    }

    /// All of them, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.all.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}
