//! Presence documents (PIDF, RFC 3863), as far as a gateway's state goes: whether it takes calls, and how many.

use quick_xml::NsReader;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The namespace of PIDF's elements (RFC 3863 §4.1).
pub const PIDF: &str = "urn:ietf:params:xml:ns:pidf";

/// The namespace of `capacity`, an element of ours in a tuple's `status`: how many calls the gateway takes at once.
pub const CAPACITY: &str = "urn:x-tandem:gateway";

/// The deepest nesting that is read.
pub const MAX_DEPTH: usize = 16;

/// The longest text of an element that means something.
const MAX_TEXT: usize = 32;

/// Whether calls are taken (RFC 3863 §4.1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Basic {
    /// They are.
    Open,
    /// They are not.
    Closed,
}

/// What a presence document says about a gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Open if one of its tuples is; `None` if no tuple says.
    pub basic: Option<Basic>,
    /// How many calls its open tuples take together; `None` if one of them does not say.
    pub capacity: Option<u32>,
}

/// Why a body is no presence document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PidfError {
    /// Not UTF-8.
    #[error("not UTF-8")]
    Encoding,
    /// Not well-formed.
    #[error("not well-formed")]
    Syntax,
    /// A document type, which could define entities, or an entity that is none of XML's own.
    #[error("document types and entities are not read")]
    Entities,
    /// Nested beyond [`MAX_DEPTH`].
    #[error("nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// The outermost element is not PIDF's `presence`.
    #[error("not a presence document")]
    NotPresence,
    /// A `basic` or `capacity` of another form.
    #[error("a status that has no meaning")]
    Value,
}

/// The elements that mean something, each only where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    Presence,
    Tuple,
    Status,
    Basic,
    Capacity,
    Other,
}

#[derive(Default)]
struct Tuple {
    basic: Option<Basic>,
    capacity: Option<u32>,
}

/// Reads a document. Elements of other namespaces are passed over, as RFC 3863 §4.2 asks.
///
/// # Errors
/// Says why it is none.
pub fn read(body: &[u8]) -> Result<Presence, PidfError> {
    let text = std::str::from_utf8(body).map_err(|_| PidfError::Encoding)?;
    let mut reader = NsReader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut document = Document::default();
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(|_| PidfError::Syntax)?;
        match event {
            Event::Start(start) => document.open(&namespace, &start)?,
            Event::End(_) => document.close()?,
            Event::Text(text) => document.write(&text)?,
            Event::CData(text) => document.write(&text)?,
            Event::GeneralRef(reference) => document.refer(&reference)?,
            Event::DocType(_) => return Err(PidfError::Entities),
            Event::Eof => return document.finish(),
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
}

#[derive(Default)]
struct Document {
    open: Vec<Element>,
    text: String,
    tuples: Vec<Tuple>,
    is_presence: bool,
}

impl Document {
    fn open(&mut self, namespace: &ResolveResult<'_>, start: &BytesStart<'_>) -> Result<(), PidfError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(PidfError::TooDeep);
        }
        let local = start.local_name();
        let name: &str = local.as_ref();
        let is = |wanted| *namespace == ResolveResult::Bound(Namespace(wanted));
        let element = match (self.open.last(), name) {
            (None, "presence") if is(PIDF) && !self.is_presence => {
                self.is_presence = true;
                Element::Presence
            }
            (None, _) => return Err(PidfError::NotPresence),
            (Some(Element::Presence), "tuple") if is(PIDF) => {
                self.tuples.push(Tuple::default());
                Element::Tuple
            }
            (Some(Element::Tuple), "status") if is(PIDF) => Element::Status,
            (Some(Element::Status), "basic") if is(PIDF) => Element::Basic,
            (Some(Element::Status), "capacity") if is(CAPACITY) => Element::Capacity,
            (Some(_), _) => Element::Other,
        };
        self.text.clear();
        self.open.push(element);
        Ok(())
    }

    fn close(&mut self) -> Result<(), PidfError> {
        let text = self.text.trim();
        match (self.open.pop(), self.tuples.last_mut()) {
            (Some(Element::Basic), Some(tuple)) => {
                tuple.basic = Some(match text {
                    "open" => Basic::Open,
                    "closed" => Basic::Closed,
                    _ => return Err(PidfError::Value),
                });
            }
            (Some(Element::Capacity), Some(tuple)) => {
                tuple.capacity = Some(text.parse().map_err(|_| PidfError::Value)?);
            }
            (
                Some(Element::Presence | Element::Tuple | Element::Status | Element::Other)
                | Some(Element::Basic | Element::Capacity)
                | None,
                _,
            ) => {}
        }
        self.text.clear();
        Ok(())
    }

    fn write(&mut self, text: &str) -> Result<(), PidfError> {
        match self.open.last() {
            Some(Element::Basic | Element::Capacity) if self.text.len() + text.len() > MAX_TEXT => {
                Err(PidfError::Value)
            }
            Some(Element::Basic | Element::Capacity) => {
                self.text.push_str(text);
                Ok(())
            }
            Some(_) => Ok(()),
            None if text.trim().is_empty() => Ok(()),
            None => Err(PidfError::Syntax),
        }
    }

    /// XML's own entities and characters by number may stand in text that means nothing; there are no others.
    fn refer(&self, reference: &BytesRef<'_>) -> Result<(), PidfError> {
        const OWN: [&str; 5] = ["amp", "lt", "gt", "apos", "quot"];
        let name: &str = reference;
        match self.open.last() {
            Some(Element::Basic | Element::Capacity) => Err(PidfError::Value),
            Some(_) if reference.is_char_ref() || OWN.contains(&name) => Ok(()),
            Some(_) | None => Err(PidfError::Entities),
        }
    }

    fn finish(self) -> Result<Presence, PidfError> {
        if !self.is_presence {
            return Err(PidfError::NotPresence);
        }
        if !self.open.is_empty() {
            return Err(PidfError::Syntax);
        }
        let stated = || self.tuples.iter().filter_map(|tuple| tuple.basic);
        let basic = match stated().find(|basic| *basic == Basic::Open) {
            Some(open) => Some(open),
            None => stated().next(),
        };
        let open = self.tuples.iter().filter(|tuple| tuple.basic == Some(Basic::Open));
        let capacities: Option<Vec<u32>> = open.map(|tuple| tuple.capacity).collect();
        let capacity = capacities
            .filter(|each| !each.is_empty())
            .map(|each| each.into_iter().fold(0, u32::saturating_add));
        Ok(Presence { basic, capacity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn document(tuples: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"{PIDF}\" xmlns:t=\"{CAPACITY}\" \
             entity=\"pres:vendor@example.com\">{tuples}</presence>\r\n"
        )
    }

    fn tuple(status: &str) -> String {
        format!("<tuple id=\"a\"><status>{status}</status><contact>sip:a&amp;b@h</contact></tuple>")
    }

    fn reads(tuples: &str) -> Result<Presence, PidfError> {
        read(document(tuples).as_bytes())
    }

    const OPEN: &str = "<basic>open</basic>";
    const CLOSED: &str = "<basic> closed </basic>";

    #[test]
    fn pidf_says_open_or_closed() {
        assert_eq!(reads(&tuple(OPEN)), Ok(Presence { basic: Some(Basic::Open), capacity: None }));
        assert_eq!(reads(&tuple(CLOSED)), Ok(Presence { basic: Some(Basic::Closed), capacity: None }));
        assert_eq!(reads(&tuple("<note/>")), Ok(Presence::default()));
        assert_eq!(reads(""), Ok(Presence::default()));
        let prefixed = format!(
            "<p:presence xmlns:p=\"{PIDF}\"><p:tuple><p:status><p:basic>open</p:basic></p:status></p:tuple>\
             </p:presence>"
        );
        assert_eq!(read(prefixed.as_bytes()).map(|presence| presence.basic), Ok(Some(Basic::Open)));
    }

    #[test]
    fn a_gateway_is_open_if_one_of_its_tuples_is() {
        let both = tuple(CLOSED) + &tuple(OPEN);
        assert_eq!(reads(&both).map(|presence| presence.basic), Ok(Some(Basic::Open)));
    }

    #[test]
    fn the_capacities_of_the_open_tuples_add_up() {
        let with = |basic: &str, calls: u32| tuple(&format!("{basic}<t:capacity>{calls}</t:capacity>"));
        let capacity = |tuples: &str| reads(tuples).expect("a document").capacity;
        assert_eq!(capacity(&with(OPEN, 30)), Some(30));
        assert_eq!(capacity(&(with(OPEN, 30) + &with(OPEN, 12) + &with(CLOSED, 100))), Some(42));
        assert_eq!(capacity(&(with(OPEN, 30) + &tuple(OPEN))), None, "one takes as many as come");
        assert_eq!(capacity(&(with(OPEN, u32::MAX) + &with(OPEN, 1))), Some(u32::MAX));
        let foreign = tuple(&format!("{OPEN}<capacity>3</capacity>"));
        assert_eq!(capacity(&foreign), None, "an element of PIDF's namespace that there is not");
    }

    #[test]
    fn elements_mean_something_only_where_they_belong() {
        let elsewhere = "<note><tuple><status><basic>closed</basic></status></tuple></note>";
        assert_eq!(reads(&(elsewhere.to_owned() + &tuple(OPEN))).map(|it| it.basic), Ok(Some(Basic::Open)));
    }

    #[test]
    fn what_is_no_presence_document_is_refused() {
        let entity =
            "<!DOCTYPE presence [<!ENTITY a \"open\">]>".to_owned() + &document(&tuple("<basic>&a;</basic>"));
        let deep = "<a>".repeat(MAX_DEPTH) + &"</a>".repeat(MAX_DEPTH);
        for (body, why) in [
            ("", PidfError::NotPresence),
            ("<other/>", PidfError::NotPresence),
            ("<presence/>", PidfError::NotPresence),
            ("v=0", PidfError::Syntax),
            (&document("<tuple>"), PidfError::Syntax),
            (&document("<tuple></status></tuple>"), PidfError::Syntax),
            (&(document("") + "<presence/>"), PidfError::NotPresence),
            (&entity, PidfError::Entities),
            (&document("<note>&lol;</note>"), PidfError::Entities),
            (&document(&tuple("<basic>ajar</basic>")), PidfError::Value),
            (&document(&tuple("<basic>&lt;</basic>")), PidfError::Value),
            (&document(&tuple(&format!("<basic>{}</basic>", "x".repeat(1_000)))), PidfError::Value),
            (&document(&tuple("<t:capacity>-1</t:capacity>")), PidfError::Value),
            (&document(&deep), PidfError::TooDeep),
        ] {
            assert_eq!(read(body.as_bytes()), Err(why), "{body}");
        }
        assert_eq!(read(b"\xff"), Err(PidfError::Encoding));
    }

    proptest! {
        #[test]
        fn no_body_panics(body in "[<>/=\"&;a-z! \\[\\]?:-]{0,200}") {
            let _ = read(body.as_bytes());
            let _ = reads(&body);
        }
    }
}
