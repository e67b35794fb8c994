//! Whatever is sent, the registrar refuses it or keeps what it can answer with.

use super::*;
use proptest::prelude::*;

/// Pieces that REGISTER requests are made of, right and wrong ones.
fn piece() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "Contact: <sip:alice@192.0.2.7:5060>",
        "Contact: sip:b@[2001:db8::1]",
        "Contact: *",
        "Expires: 0",
        "Expires: 4294967296",
        "Supported: path, outbound",
        "Path: <sip:p;lr;ob>",
        "Require: outbound",
        "User-Agent: \u{e9}\u{e9}\u{e9}",
        ";expires=70",
        ";q=0.5",
        ";reg-id=1",
        ";+sip.instance=\"<urn:x>\"",
        ", <sip:c@192.0.2.8>",
        "\r\n",
        "<",
        "\"",
        ";",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => "[ -~]{0,12}"]
}

proptest! {
    #[test]
    fn no_register_makes_the_registrar_panic(
        requests in prop::collection::vec((prop::collection::vec(piece(), 0..8), 0_u32..5), 1..6),
    ) {
        let mut world = World::new();
        for (pieces, cseq) in requests {
            let text = register(cseq, "@\r\n").raw().to_vec();
            let text = String::from_utf8(text).expect("text");
            let (start, end) = text.rsplit_once("@\r\n").expect("where the pieces go");
            let text = format!("{start}{}\r\n{end}", pieces.concat());
            let Ok(request) = Message::parse(text.into(), &Limits::default()) else { continue };
            if let Ok(answer) = world.send(&request) {
                prop_assert!(answer.validate().is_ok());
                prop_assert_eq!(answer.items(Name::Contact).count(), world.bindings.bindings.len());
            }
            prop_assert!(world.bindings.bindings.len() <= world.rules.max_contacts);
            world.pass(1);
        }
    }
}
