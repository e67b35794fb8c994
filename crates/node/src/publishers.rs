//! Whose a PUBLISH is.

use crate::gateway_actor::GatewayHandle;
use crate::shared::Shared;
use std::net::IpAddr;
use std::sync::Arc;
use tandem_sip::flow::Flow;
use tandem_sip::{Message, StatusCode, Uri};

impl Shared {
    /// The routing gateway that a PUBLISH is of. Whoever sends it from the address of one gateway is that gateway, whatever
    /// it calls itself; where several are at one address, the user part of the Request-URI or of From has to be the
    /// gateway's name, or the request has to come from the gateway's very port.
    ///
    /// # Errors
    /// 403 where no gateway is at that address, 404 where it does not say which of several it is.
    pub(crate) fn publisher(&self, flow: Flow, request: &Message) -> Result<Arc<GatewayHandle>, StatusCode> {
        let source = flow.remote.ip().to_canonical();
        let at = |handle: &&Arc<GatewayHandle>| self.addresses(handle).any(|address| address.0 == source);
        let configured = self.configured();
        let known = configured.gateways.values().filter(|handle| !handle.is_retired());
        let mut there: Vec<&Arc<GatewayHandle>> = known.filter(at).collect();
        there.sort_by(|a, b| a.name.cmp(&b.name));
        match there[..] {
            [] => return Err(StatusCode::FORBIDDEN),
            [only] => return Ok(only.clone()),
            [..] => {}
        }
        let from = request.from().ok().and_then(|from| from.parse_uri().ok());
        let named = [Uri::parse(request.request_uri()).ok(), from];
        let named = named.iter().flatten().find_map(|uri| {
            let name = uri.number();
            there.iter().find(|handle| handle.name.eq_ignore_ascii_case(&name))
        });
        let port = flow.remote.port();
        let at_port = || {
            let mut same =
                there.iter().filter(|one| self.addresses(one).any(|place| place == (source, port)));
            same.next().filter(|_| same.next().is_none())
        };
        named.or_else(at_port).map(|handle| Arc::clone(handle)).ok_or(StatusCode::NOT_FOUND)
    }

    /// Where a gateway is at present.
    fn addresses(&self, handle: &GatewayHandle) -> impl Iterator<Item = (IpAddr, u16)> {
        let targets = self.targets_of_gateway(handle).into_iter();
        targets.map(|target| (target.target.address.ip().to_canonical(), target.target.address.port()))
    }
}
