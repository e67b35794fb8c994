//! RFC 4475 and RFC 5118: what becomes of each class of message.

use crate::corpus::{self, Verdict};
use tandem_sip::{Limits, Message, ResponseHead, StatusCode};

fn verdict(text: Vec<u8>) -> Verdict {
    match Message::parse(text.into(), &Limits::default()) {
        Err(_) => Verdict::Dropped,
        Ok(message) => match message.validate() {
            Ok(()) => Verdict::Accepted,
            Err(rejection) => Verdict::Rejected(rejection.status.code()),
        },
    }
}

#[test]
fn every_message_of_the_corpus_gets_its_verdict() {
    let all = corpus::all();
    let wrong: Vec<_> = all
        .iter()
        .map(|sample| (sample.name, sample.verdict, verdict(sample.text.clone())))
        .filter(|(_, expected, got)| expected != got)
        .collect();
    assert!(wrong.is_empty(), "(name, expected, got): {wrong:#?}");
    assert!(all.len() > 90);
}

#[test]
fn every_request_that_is_refused_can_be_answered() {
    for sample in corpus::all() {
        let Ok(request) = Message::parse(sample.text.into(), &Limits::default()) else { continue };
        let Err(rejection) = request.validate() else { continue };
        let source = ([203, 0, 113, 10], 5060).into();
        let answer = ResponseHead::of(&request, source)
            .respond_with_reason(rejection.status, rejection.reason.as_bytes(), Some("sw"))
            .finish();
        let answer = Message::parse(answer, &Limits::default()).expect(sample.name);
        assert_eq!(answer.status(), Some(rejection.status), "{}", sample.name);
        assert_eq!(
            answer.first(tandem_sip::Name::Via).is_some(),
            request.top_via().is_ok() || request.items(tandem_sip::Name::Via).next().is_some()
        );
        assert_ne!(rejection.status, StatusCode::OK);
    }
}
