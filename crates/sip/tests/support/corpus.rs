//! Messages of our own: ordinary traffic, and one message for every class of malice and oddity in RFC 4475 and RFC 5118.

/// What the wire layer makes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Parsed, and valid as far as every element checks.
    Accepted,
    /// Parsed, and to be answered (a response: discarded) with that status.
    Rejected(u16),
    /// Not parsed.
    Dropped,
}

/// A message with what becomes of it.
pub(crate) struct Sample {
    /// What it is about.
    pub name: &'static str,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Its bytes.
    pub text: Vec<u8>,
}

use Verdict::{Accepted, Dropped, Rejected};

pub(crate) const SDP: &str = "v=0\r
o=gw 20518 0 IN IP4 203.0.113.10\r
s=-\r
c=IN IP4 203.0.113.10\r
t=0 0\r
m=audio 21000 RTP/AVP 8 18 101\r
a=rtpmap:8 PCMA/8000\r
a=rtpmap:101 telephone-event/8000\r
a=fmtp:101 0-15\r
a=sendrecv\r
";

/// Everything below.
pub(crate) fn all() -> Vec<Sample> {
    [ordinary(), torture_valid(), torture_invalid(), torture_ipv6()].into_iter().flatten().collect()
}

/// A head written with plain line ends, `%LEN` standing for the length of the body, and the body.
fn sample(name: &'static str, verdict: Verdict, head: &str, body: &str) -> Sample {
    let head = head.replace('\n', "\r\n").replace("%LEN", &body.len().to_string());
    Sample { name, verdict, text: format!("{head}\r\n{body}").into_bytes() }
}

/// A valid request of that method with a header or two in addition.
fn request(name: &'static str, verdict: Verdict, start: &str, extra: &str) -> Sample {
    let method = start.split_whitespace().next().unwrap_or_default();
    let head = format!(
        "{start}
Via: SIP/2.0/UDP 203.0.113.10:5060;branch=z9hG4bK-{name}
Max-Forwards: 70
From: <sip:4930123456@203.0.113.10>;tag=f-{name}
To: <sip:442071234567@192.0.2.1>
Call-ID: {name}@203.0.113.10
CSeq: 7 {method}
{extra}Content-Length: 0
"
    );
    sample(name, verdict, &head, "")
}

/// What carriers send all day.
pub(crate) fn ordinary() -> Vec<Sample> {
    vec![
        sample("invite", Accepted, INVITE, SDP),
        sample("ringing", Accepted, RINGING, ""),
        sample("answer", Accepted, ANSWER, SDP),
        request("ack", Accepted, "ACK sip:442071234567@192.0.2.1 SIP/2.0", ""),
        request(
            "bye",
            Accepted,
            "BYE sip:sw@192.0.2.1 SIP/2.0",
            "Reason: Q.850;cause=16;text=\"Normal call clearing\"\n",
        ),
        request(
            "cancel",
            Accepted,
            "CANCEL sip:442071234567@192.0.2.1 SIP/2.0",
            "Reason: SIP;cause=200, Q.850;cause=26\n",
        ),
        request("prack", Accepted, "PRACK sip:sw@192.0.2.1 SIP/2.0", "RAck: 314 7 INVITE\n"),
        request(
            "update",
            Accepted,
            "UPDATE sip:sw@192.0.2.1 SIP/2.0",
            "Session-Expires: 600;refresher=uac\nMin-SE: 90\n",
        ),
        request(
            "options",
            Accepted,
            "OPTIONS sip:192.0.2.1 SIP/2.0",
            "Accept: application/sdp, application/pidf+xml\n",
        ),
        request(
            "register",
            Accepted,
            "REGISTER sip:sip.example.com SIP/2.0",
            "Contact: <sip:4930@10.1.1.7:5062;transport=udp>;expires=300;q=0.7, \"Desk, left\" <sip:4931@10.1.1.8>\n\
             Path: <sip:edge.example.com;lr>\n\
             Authorization: Digest username=\"4930\", realm=\"sip.example.com\", nonce=\"b1.77\", uri=\"sip:sip.example.com\", \
             response=\"0a4f113b\", algorithm=MD5, cnonce=\"x,y\", qop=auth, nc=00000001\n",
        ),
        request("unregister", Accepted, "REGISTER sip:sip.example.com SIP/2.0", "Contact: *\nExpires: 0\n"),
        request(
            "publish",
            Accepted,
            "PUBLISH sip:gw1@sip.example.com SIP/2.0",
            "Event: presence\nExpires: 3600\nSIP-If-Match: dx200xyz\n",
        ),
        request(
            "tel",
            Accepted,
            "INVITE tel:+44-20-7123-4567;phone-context=example.com SIP/2.0",
            "Contact: <sip:a@203.0.113.10>\n",
        ),
        request(
            "trusted",
            Accepted,
            "INVITE sips:442071234567@192.0.2.1:5061;user=phone SIP/2.0",
            "P-Asserted-Identity: \"Desk\" <sip:+4930123456@carrier.example>, <tel:+4930123456>\nPrivacy: id;header\n\
             Diversion: <sip:4989@gw.example>;reason=unconditional;counter=1\nHistory-Info: <sip:4989@gw.example>;index=1\n\
             Supported: timer, 100rel, replaces\nRequire: 100rel\nAllow: INVITE,ACK,BYE,CANCEL,UPDATE\n\
             Session-Expires: 1800\nMin-SE: 90\nX-Account: 17;42\n",
        ),
        sample(
            "busy-with-reason",
            Accepted,
            "SIP/2.0 486 Busy Here
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-t1;rport=5060;received=192.0.2.1
From: <sip:4930123456@192.0.2.1>;tag=a1
To: <sip:442071234567@198.51.100.7>;tag=b1
Call-ID: leg-b-77
CSeq: 1001 INVITE
Retry-After: 18 (in a meeting);duration=3600
Warning: 399 gw \"line in use\"
Reason: Q.850;cause=17
Content-Length: 0
",
            "",
        ),
        sample(
            "challenge",
            Accepted,
            "SIP/2.0 407 Proxy Authentication Required
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-t2
From: <sip:4930123456@192.0.2.1>;tag=a2
To: <sip:442071234567@198.51.100.7>;tag=b2
Call-ID: leg-b-78
CSeq: 1001 INVITE
Proxy-Authenticate: Digest realm=\"gw.example\", nonce=\"1a\", algorithm=SHA-256, qop=\"auth,auth-int\"
Proxy-Authenticate: Digest realm=\"gw.example\", nonce=\"1b\", algorithm=MD5, qop=\"auth\", stale=true
Content-Length: 0
",
            "",
        ),
    ]
}

const INVITE: &str = "INVITE sip:442071234567@192.0.2.1;user=phone SIP/2.0
Via: SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bK-5f1c.9;rport
Via: SIP/2.0/TCP inner.example:5070;branch=z9hG4bK-inner;received=10.0.0.9
Max-Forwards: 68
Record-Route: <sip:edge1.example;lr>, <sip:edge2.example;lr;ftag=1>
From: \"Sales, East\" <sip:4930123456@203.0.113.10>;tag=as7d9
To: <sip:442071234567@192.0.2.1>
Call-ID: 5f1c-2024@10.0.0.5
CSeq: 1 INVITE
Contact: <sip:4930123456@10.0.0.5:5060>
Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK
Supported: timer, 100rel
Session-Expires: 600
Min-SE: 90
Timestamp: 54.1
User-Agent: Gateway/3.1 (build 7)
Content-Type: application/sdp
Content-Length: %LEN
";

const RINGING: &str = "SIP/2.0 180 Ringing
Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-b.1.7
From: <sip:4930123456@192.0.2.1>;tag=sw1
To: <sip:442071234567@198.51.100.7>;tag=gw1
Call-ID: b.1.7
CSeq: 1000 INVITE
Contact: <sip:442071234567@198.51.100.7:5060;transport=udp>
Require: 100rel
RSeq: 988789
Content-Length: 0
";

const ANSWER: &str = "SIP/2.0 200 OK
v: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-b.1.7;rport=5060;received=192.0.2.1
f: <sip:4930123456@192.0.2.1>;tag=sw1
t: <sip:442071234567@198.51.100.7>;tag=gw1
i: b.1.7
CSeq: 1000 INVITE
m: <sip:442071234567@198.51.100.7>
k: timer
Require: timer
x: 600;refresher=uac
c: application/sdp
l: %LEN
";

/// RFC 4475 §3.1.1 and §3.3: strange, and to be understood.
pub(crate) fn torture_valid() -> Vec<Sample> {
    let multipart = format!(
        "preamble\r\n--cut\r\nContent-Type: application/isup;version=itu-t92+\r\nContent-Disposition: signal\r\n\r\n\
         \u{1}\u{0}\u{60}\r\n--cut  \r\nc:\r\n application/sdp\r\n\r\n{SDP}\r\n--cut--\r\nepilogue"
    );
    let long = "x".repeat(600);
    vec![
        sample("folded-and-compact", Accepted, FOLDED, SDP),
        request(
            "strange-method",
            Accepted,
            "!odd-Method_0.9*+`%x'~ sip:1_odd.User~(is-it!not)&so+on$/really?,/;;*:%26pw!~_1@h.example SIP/2.0",
            "",
        ),
        request(
            "escaped-user",
            Accepted,
            "INVITE sip:sips%3Auser%40example.com@h.example SIP/2.0",
            "Contact: <sip:a%20b@h>\n",
        ),
        request(
            "escaped-nul",
            Accepted,
            "REGISTER sip:h.example SIP/2.0",
            "Contact: <sip:null-%00-null@h>, sip:%00@h\n",
        ),
        request("percent-in-method", Accepted, "RE%47IST%45R sip:h.example SIP/2.0", "Contact: <sip:a@h>\n"),
        sample(
            "no-space-before-bracket",
            Accepted,
            "OPTIONS sip:u@h SIP/2.0
Via: SIP/2.0/UDP 203.0.113.10;branch=z9hG4bK-ns
From: caller<sip:c@h>;tag=1
To:called<sip:u@h>
Call-ID:ns@h
CSeq:1 OPTIONS
Max-Forwards:70
l:0
",
            "",
        ),
        request(
            "long-values",
            Accepted,
            &format!("INVITE sip:user@h.example;unknown={long} SIP/2.0"),
            &format!(
                "Contact: \"{long}\" <sip:{long}@h>\nX-{long}: {long}\nVia: SIP/2.0/TCP {long}.h.example;branch=z9hG4bK{long}\n"
            ),
        ),
        Sample {
            name: "two-in-a-datagram",
            verdict: Accepted,
            text: [
                request("first", Accepted, "REGISTER sip:h.example SIP/2.0", "Contact: <sip:a@h>\n").text,
                sample("second", Accepted, INVITE, SDP).text,
            ]
            .concat(),
        },
        request("semicolon-user", Accepted, "OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0", ""),
        request(
            "odd-transports",
            Accepted,
            "OPTIONS sip:u@h SIP/2.0",
            "Via: SIP/2.0/SCTP a.h;branch=z9hG4bKb\nVia: SIP/2.0/WSS b.h;branch=z9hG4bKc, SIP/2.0/UNKNOWN c.h;branch=z9hG4bKd\n",
        ),
        sample(
            "multipart",
            Accepted,
            &INVITE.replace("application/sdp", "multipart/mixed ; boundary = \"cut\""),
            &multipart,
        ),
        Sample {
            name: "reason-not-ascii",
            verdict: Accepted,
            text: sample("", Accepted, &RINGING.replace("180 Ringing", "183 В пути \u{fffd}"), "").text,
        },
        sample("reason-empty", Accepted, &RINGING.replace("180 Ringing", "100 "), ""),
        sample("reason-and-space-missing", Accepted, &RINGING.replace("180 Ringing", "100"), ""),
        Sample {
            name: "not-utf-8",
            verdict: Accepted,
            text: {
                let mut text =
                    sample("", Accepted, &INVITE.replace("Gateway/3.1", "\u{1}\u{2}\u{3}"), SDP).text;
                text.iter_mut()
                    .filter(|byte| matches!(byte, 1..=3))
                    .for_each(|byte| *byte = byte.wrapping_sub(2) | 0xc0);
                text
            },
        },
        sample(
            "old-style",
            Accepted,
            "INVITE sip:u@h SIP/2.0
Via: SIP/2.0/UDP 203.0.113.10
From: <sip:c@h>
To: sip:u@h
Record-Route: <sip:u@h;maddr=edge.example>
Call-ID: old
CSeq: 1 INVITE
Content-Type: application/sdp
",
            SDP,
        ),
        sample(
            "date-not-gmt",
            Accepted,
            &INVITE.replace("Timestamp: 54.1", "Date: Mon, 03 Mar 2025 09:30:00 CET"),
            SDP,
        ),
        sample(
            "unknown-body",
            Accepted,
            &INVITE.replace("application/sdp", "application/x-media-list"),
            "<list/>\r\n",
        ),
        sample(
            "no-sdp-wanted",
            Accepted,
            &INVITE.replace("Timestamp: 54.1", "Accept: text/plain, text/x-nobody-knows;level=1"),
            SDP,
        ),
        sample(
            "multipart-message",
            Accepted,
            "MESSAGE sip:desk@h.example SIP/2.0
Via: SIP/2.0/UDP 203.0.113.10:5060;branch=z9hG4bK-mm;rport
Max-Forwards: 70
Route: <sip:edge.example;lr>
Identity: bm90IGEgc2lnbmF0dXJlIGF0IGFsbA==
From: <sip:c@h.example>;tag=mm
To: <sip:desk@h.example>
Call-ID: mm
CSeq: 1 MESSAGE
Content-Type: multipart/mixed;boundary=\"cut\"
Content-Length: %LEN
",
            &multipart,
        ),
        request(
            "unknown-extensions",
            Accepted,
            "OPTIONS sip:u@h SIP/2.0",
            "Require: nobody-has-this, nor-this\nProxy-Require: no-proxy-has-this\n",
        ),
        sample(
            "no-hops-left",
            Accepted,
            "OPTIONS sip:u@h SIP/2.0
Via: SIP/2.0/UDP 203.0.113.10;branch=z9hG4bK-hops
Max-Forwards: 0
From: <sip:c@h>;tag=hops
To: <sip:u@h>
Call-ID: hops
CSeq: 1 OPTIONS
Content-Length: 0
",
            "",
        ),
        sample(
            "display-name-unquoted",
            Accepted,
            &INVITE.replace("From: \"Sales, East\"", "From: Sales, East"),
            SDP,
        ),
        sample(
            "schemes-nobody-knows",
            Accepted,
            "REGISTER sip:h.example SIP/2.0
Via: SIP/2.0/UDP 203.0.113.10;branch=z9hG4bK-schemes
Max-Forwards: 70
From: <https://h.example/staff>;tag=schemes
To: urn:isbn:0451450523
Call-ID: schemes
CSeq: 1 REGISTER
Contact: <name:Desk>
Content-Length: 0
",
            "",
        ),
        request(
            "credentials-nobody-knows",
            Accepted,
            "REGISTER sip:h.example SIP/2.0",
            "Authorization: Handshake firmness=\"high\"\n",
        ),
        request(
            "contact-parameter-outside",
            Accepted,
            "REGISTER sip:h.example SIP/2.0",
            "Contact: sip:+4930123456@gw.example;unheard-of\n",
        ),
        request(
            "contact-parameter-inside",
            Accepted,
            "REGISTER sip:h.example SIP/2.0",
            "Contact: <sip:+4930123456@gw.example;unheard-of>\n",
        ),
        request(
            "contact-with-headers",
            Accepted,
            "REGISTER sip:h.example SIP/2.0",
            "m: <sip:u@h.example?Route=%3Csip:edge.example%3E>\n",
        ),
        sample(
            "response-for-another-hop",
            Accepted,
            "SIP/2.0 200 OK
Via: SIP/2.0/UDP 203.0.113.10;branch=z9hG4bK-hop1
Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK-hop2
From: <sip:c@h>;tag=hop
To: <sip:u@h>;tag=hop
Call-ID: hop
CSeq: 3 INVITE
Contact: <sip:u@198.51.100.7>
Content-Type: application/sdp
Content-Length: %LEN
",
            SDP,
        ),
        request("bad-branch", Accepted, "OPTIONS sip:u@h SIP/2.0", "Date: Fri, 01 Jan 2010 16:00:00 EST\n"),
        sample(
            "cookie-only-branch",
            Accepted,
            "OPTIONS sip:u@h SIP/2.0
Via: SIP/2.0/UDP 203.0.113.10;branch=z9hG4bK
Max-Forwards: 0
From: <sip:c@h>;tag=1
To: <sip:u@h>
Call-ID: cookie
CSeq: 1 OPTIONS
Proxy-Require: nothing, one-more
Content-Length: 0
",
            "",
        ),
        request(
            "header-line-that-is-none",
            Accepted,
            "OPTIONS sip:u@h SIP/2.0",
            "this is no header\n: nor this\n\u{7f}:x\n",
        ),
        request(
            "escaped-headers-in-uri",
            Accepted,
            "INVITE sip:u@h?Route=%3Csip:h%3E SIP/2.0",
            "Contact: <sip:a@203.0.113.10>\n",
        ),
        Sample {
            name: "line-ends-in-front",
            verdict: Accepted,
            text: [b"\r\n\r\n".to_vec(), sample("", Accepted, INVITE, SDP).text].concat(),
        },
        Sample {
            name: "bare-line-feeds",
            verdict: Accepted,
            text: INVITE.replace("Content-Length: %LEN\n", "\n").into_bytes(),
        },
    ]
}

const FOLDED: &str = "INVITE sip:442071234567@192.0.2.1;unknownparam SIP/2.0
TO :
 sip:442071234567@192.0.2.1 ;   tag    = 1918181833n
from   : \"J Rosenberg \\\\\\\"\"       <sip:j@h.example>
  ;
  tag = 98asjd8
MaX-fOrWaRdS: 0068
Call-ID: folded.0ha0isndaksdj@192.0.2.1
cseq: 0009
  INVITE
v  : SIP  / 2.0
  / UDP
    203.0.113.10;branch=390skdjuw
S :
NewFangledHeader:   newfangled value
 continued newfangled value
UnknownHeaderWithUnusualValue: ;;,,;;,;
Content-Type: application/sdp
Route:
 <sip:edge.example;lr;unknownwith=value;unknown-no-value>
V:  SIP  / 2.0  / TCP     spindle.example   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.0.2.255   ; branch=
 z9hG4bK30239
m:\"Quoted string \\\"\\\"\" <sip:j@h.example> ; newparam =
      newvalue ;
  secondparam ; q = 0.33
L: %LEN
";

/// RFC 4475 §3.1.2: to be refused.
pub(crate) fn torture_invalid() -> Vec<Sample> {
    let request = |name, status, start: &str, extra: &str| request(name, Rejected(status), start, extra);
    let invite = |name, status, from: &str, to: &str| {
        let changed = INVITE.replace(from, to);
        assert_ne!(changed, INVITE, "{name} changes nothing");
        sample(name, Rejected(status), &changed, SDP)
    };
    vec![
        invite("separators-in-parameters", 400, ";rport\n", ";;,;,,\n"),
        invite(
            "contact-parameters",
            400,
            "Contact: <sip:4930123456@10.0.0.5:5060>",
            "Contact: \"Joe\" <sip:joe@h>;;;;",
        ),
        invite("length-too-large", 400, "%LEN", "9999"),
        invite("length-negative", 400, "%LEN", "-999"),
        invite("length-overflow", 400, "%LEN", "99999999999999999999999999"),
        invite("length-empty", 400, "%LEN", ""),
        invite("length-twice", 400, "Content-Length: %LEN", "Content-Length: 5\nl: %LEN"),
        invite("no-via-sent-by", 400, "10.0.0.5:5060;branch", ";branch"),
        invite("quote-never-closed", 400, "To: <", "To: \"Mr. J. User <"),
        invite("tag-without-value", 400, "192.0.2.1>\nCall-ID", "192.0.2.1>;tag\nCall-ID"),
        invite("tag-empty", 400, ";tag=as7d9", ";tag="),
        invite(
            "uri-in-brackets",
            400,
            "INVITE sip:442071234567@192.0.2.1;user=phone ",
            "INVITE <sip:442071234567@192.0.2.1> ",
        ),
        invite("uri-with-space", 400, "192.0.2.1;user=phone ", "192.0.2.1; user=phone "),
        invite("spaces-in-start-line", 400, "INVITE sip:442071234567", "INVITE  sip:442071234567"),
        invite("space-after-version", 400, "SIP/2.0\nVia: SIP/2.0/UDP 10", "SIP/2.0 \nVia: SIP/2.0/UDP 10"),
        invite("cseq-too-large", 400, "CSeq: 1 ", "CSeq: 36893488147419103232 "),
        invite("cseq-2-31", 400, "CSeq: 1 ", "CSeq: 2147483648 "),
        invite("cseq-of-another-method", 400, "CSeq: 1 INVITE", "CSeq: 1 BYE"),
        invite("cseq-case", 400, "CSeq: 1 INVITE", "CSeq: 1 invite"),
        invite("max-forwards-too-large", 400, "Max-Forwards: 68", "Max-Forwards: 300"),
        invite("max-forwards-negative", 400, "Max-Forwards: 68", "Max-Forwards: -1"),
        invite("missing-from", 400, "From: \"Sales, East\" <sip:4930123456@203.0.113.10>;tag=as7d9\n", ""),
        invite("missing-to", 400, "To: <sip:442071234567@192.0.2.1>\n", ""),
        invite("missing-call-id", 400, "Call-ID: 5f1c-2024@10.0.0.5\n", ""),
        invite("empty-call-id", 400, "Call-ID: 5f1c-2024@10.0.0.5\n", "Call-ID:\n"),
        invite("missing-cseq", 400, "CSeq: 1 INVITE\n", ""),
        invite("from-twice", 400, "To: <", "f: <sip:other@h>;tag=2\nTo: <"),
        invite(
            "everything-twice",
            400,
            "CSeq: 1 INVITE\n",
            "CSeq: 1 INVITE\nCSeq: 2 INVITE\ni: other\nf: <sip:other@h>;tag=2\nt: <sip:other@h>\n\
             Max-Forwards: 5\nContact: <sip:other@h>\n",
        ),
        invite(
            "missing-from-to-and-call-id",
            400,
            "From: \"Sales, East\" <sip:4930123456@203.0.113.10>;tag=as7d9\nTo: <sip:442071234567@192.0.2.1>\n\
             Call-ID: 5f1c-2024@10.0.0.5\n",
            "",
        ),
        invite("cseq-twice", 400, "CSeq: 1 INVITE\n", "CSeq: 1 INVITE\nCSeq: 1 INVITE\n"),
        invite("call-id-twice", 400, "CSeq: 1 INVITE\n", "CSeq: 1 INVITE\ni: other\n"),
        invite(
            "spaces-in-address",
            400,
            "To: <sip:442071234567@192.0.2.1>",
            "To: \"Watson\" < sip:t.watson@h >",
        ),
        invite("other-version", 505, "SIP/2.0\nVia: SIP/2.0/UDP 10", "SIP/7.0\nVia: SIP/7.0/UDP 10"),
        invite("malformed-route", 400, "CSeq: 1 INVITE\n", "CSeq: 1 INVITE\nRoute: <sip:a\n"),
        request("uri-without-host", 400, "OPTIONS sip:user@ SIP/2.0", ""),
        request("uri-without-scheme", 400, "OPTIONS user SIP/2.0", ""),
        request("unknown-scheme", 416, "OPTIONS nobodyKnowsThis:opaque-content SIP/2.0", ""),
        request("unusual-scheme", 416, "OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0", ""),
        request(
            "contact-with-headers-unbracketed",
            400,
            "REGISTER sip:h SIP/2.0",
            "Contact: sip:u@h?Route=%3Csip:s%3E\n",
        ),
        invite("unknown-method-mismatch", 400, "INVITE sip:4420", "NEWMETHOD sip:4420"),
        sample(
            "register-of-large-numbers",
            Rejected(400),
            "REGISTER sip:h.example SIP/2.0
Via: SIP/2.0/TCP 203.0.113.10;branch=z9hG4bK-large
Max-Forwards: 300
From: <sip:u@h.example>;tag=large
To: <sip:u@h.example>
Call-ID: large
CSeq: 18446744073709551617 REGISTER
Expires: 999999999999999999999999999999999999999
Contact: <sip:u@203.0.113.10>;expires=9223372036854775809
Content-Length: 0
",
            "",
        ),
        request(
            "too-many-vias",
            400,
            "OPTIONS sip:u@h SIP/2.0",
            &"Via: SIP/2.0/UDP h,SIP/2.0/UDP i\n".repeat(40),
        ),
        sample(
            "response-cseq-too-large",
            Rejected(400),
            &RINGING.replace("CSeq: 1000", "CSeq: 9292394834772304023312"),
            "",
        ),
        sample("response-without-to", Rejected(400), &RINGING.replace("To: ", "Too: "), ""),
        Sample {
            name: "cut-off-in-the-headers",
            verdict: Rejected(400),
            text: sample("", Accepted, INVITE, "").text[..500].to_vec(),
        },
        sample("status-too-large", Dropped, &RINGING.replace("180", "4294967301"), ""),
        sample("status-of-no-class", Dropped, &RINGING.replace("180", "099"), ""),
        sample(
            "no-via",
            Dropped,
            "OPTIONS sip:u@h SIP/2.0\nFrom: <sip:c@h>;tag=1\nTo: <sip:u@h>\nCall-ID: 1\nCSeq: 1 OPTIONS\n",
            "",
        ),
        sample("no-version", Dropped, "OPTIONS sip:u@h\nVia: SIP/2.0/UDP h\n", ""),
        sample("another-protocol", Dropped, "GET / HTTP/1.1\nHost: h\n", ""),
        Sample { name: "keep-alive", verdict: Dropped, text: b"\r\n\r\n".to_vec() },
        Sample { name: "hello", verdict: Dropped, text: b"HELLO".to_vec() },
        Sample { name: "nothing", verdict: Dropped, text: Vec::new() },
        Sample { name: "zeros", verdict: Dropped, text: vec![0; 64] },
    ]
}

/// RFC 5118: IPv6 where SIP writes addresses.
pub(crate) fn torture_ipv6() -> Vec<Sample> {
    let register = |name, verdict, uri: &str| {
        let mut register =
            request(name, verdict, &format!("REGISTER {uri} SIP/2.0"), "Contact: <sip:c@[2001:db8::1]>\n");
        let text = String::from_utf8(register.text).expect("our own text");
        register.text = text.replace("203.0.113.10:5060;", "[2001:db8::9:1];").into_bytes();
        register
    };
    let answered =
        |name, verdict, via: &str| sample(name, verdict, &RINGING.replace("192.0.2.1:5060", via), "");
    vec![
        register("v6-reference", Accepted, "sip:[2001:db8::10]"),
        register("v6-without-brackets", Rejected(400), "sip:2001:db8::10"),
        register("v6-port-inside", Accepted, "sip:[2001:db8::10:5070]"),
        register("v6-port-outside", Accepted, "sip:[2001:db8::10]:5070"),
        register("v6-three-colons", Accepted, "sip:[2001:db8:::192.0.2.1]"),
        register("v6-with-v4-tail", Accepted, "sip:user@[2001:db8::192.0.2.1]"),
        register("v6-mapped-v4", Accepted, "sip:user@[::ffff:192.0.2.10]"),
        register("v6-zone", Rejected(400), "sip:user@[fe80::1%25eth0]"),
        answered("v6-received-bare", Accepted, "[2001:db8::9:1];received=2001:db8::9:255"),
        answered("v6-received-in-brackets", Accepted, "[2001:db8::9:1];received=[2001:db8::9:255]"),
        answered("v4-and-v6-mixed", Accepted, "[2001:db8::9:1];received=192.0.2.7;rport=5061"),
        v6_request("v6-bye-received-in-brackets", "BYE", "[2001:db8::9:1];received=[2001:db8::9:255]", "b"),
        v6_target("v6-three-colons-options", "sip:user@[2001:db8:::192.0.2.1]"),
        v6_target("v6-with-v4-tail-options", "sip:user@[2001:db8::192.0.2.1]"),
        v6_request("v6-options-received-bare", "OPTIONS", "[2001:db8::9:1];received=2001:db8::9:255", ""),
        v6_request(
            "v6-and-v4-in-vias",
            "BYE",
            "[2001:db8::9:1]:6050;branch=z9hG4bK-top, SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-mid, \
             SIP/2.0/TCP [2001:db8::9:255];received=192.0.2.200",
            "b",
        ),
        v6_invite("v6-in-sdp", "[2001:db8::20]", "c=IN IP6 2001:db8::20"),
        v6_invite("v6-mapped-v4-in-via", "[::ffff:192.0.2.10]:19823", "c=IN IP6 ::ffff:192.0.2.2"),
        v6_invite("v6-and-v4-in-sdp", "[2001:db8::9:1]", "c=IN IP4 192.0.2.9\r\na=x\r\nc=IN IP6 2001:db8::1"),
        answered("v6-via-without-brackets", Rejected(400), "2001:db8::9:1"),
    ]
}

/// A request whose topmost Via says that; `tag` is To's.
fn v6_request(name: &'static str, method: &str, via: &str, tag: &str) -> Sample {
    let tag = if tag.is_empty() { String::new() } else { format!(";tag={tag}") };
    let head = format!(
        "{method} sip:user@[2001:db8::10] SIP/2.0
Via: SIP/2.0/UDP {via};branch=z9hG4bK-{name}
Max-Forwards: 70
From: <sip:c@h.example>;tag=f-{name}
To: <sip:user@[2001:db8::10]>{tag}
Call-ID: {name}
CSeq: 11 {method}
Content-Length: 0
"
    );
    sample(name, Accepted, &head, "")
}

/// An OPTIONS to that address.
fn v6_target(name: &'static str, uri: &str) -> Sample {
    request(name, Accepted, &format!("OPTIONS {uri} SIP/2.0"), "Accept: application/sdp\n")
}

/// A call whose Via, Contact and session description have such addresses.
fn v6_invite(name: &'static str, sent_by: &str, connection: &str) -> Sample {
    let head = format!(
        "INVITE sip:user@[2001:db8::10] SIP/2.0
Via: SIP/2.0/UDP {sent_by};branch=z9hG4bK-{name}
Max-Forwards: 70
From: <sip:c@h.example>;tag=f-{name}
To: <sip:user@[2001:db8::10]>
Call-ID: {name}
CSeq: 12 INVITE
Contact: \"Desk\" <sip:c@{sent_by}>
Content-Type: application/sdp
Content-Length: %LEN
"
    );
    sample(name, Accepted, &head, &SDP.replace("c=IN IP4 203.0.113.10", connection))
}
