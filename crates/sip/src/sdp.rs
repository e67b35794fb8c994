//! What the call record and the hold rules need to know of a session description (RFC 4566, RFC 3264).

use crate::message::scan::physical_line;

/// Formats of a stream that are looked at; offers list a dozen.
const MAX_FORMATS: usize = 32;

/// Which way media flows, as seen by who wrote the description (RFC 3264 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways; what a description says that says nothing.
    #[default]
    SendRecv,
    /// The writer only sends.
    SendOnly,
    /// The writer only receives.
    RecvOnly,
    /// No media.
    Inactive,
}

/// The first codec of the first audio stream by name, `PCMA` or `G729`: from its rtpmap, or from the static table of
/// RFC 3551 §6. Tones and comfort noise are passed over. `None` if there is no audio or no name for it.
pub fn first_codec(sdp: &[u8]) -> Option<String> {
    let (formats, media) = first_audio(sdp)?;
    formats
        .filter_map(|format| codec_name(format, media))
        .find(|name| !name.eq_ignore_ascii_case("telephone-event") && !name.eq_ignore_ascii_case("CN"))
}

/// Which way the first audio stream flows: its own attribute, else the session's, else both ways. A connection
/// address of zeros is the old way to hold and stops what the writer would receive (RFC 3264 §8.4).
pub fn audio_direction(sdp: &[u8]) -> Option<Direction> {
    let (_, media) = first_audio(sdp)?;
    let session = || lines(sdp).take_while(|line| !line.starts_with(b"m="));
    let own = lines(media).find_map(direction);
    let direction = own.or_else(|| session().find_map(direction)).unwrap_or_default();
    let is_connection = |line: &&[u8]| line.starts_with(b"c=");
    let connection = lines(media).find(is_connection).or_else(|| session().find(is_connection));
    if connection.is_some_and(|line| line.ends_with(b" 0.0.0.0")) {
        return Some(match direction {
            Direction::SendRecv | Direction::SendOnly => Direction::SendOnly,
            Direction::RecvOnly | Direction::Inactive => Direction::Inactive,
        });
    }
    Some(direction)
}

/// Whether the description puts the other side on hold: the writer receives nothing (RFC 3264 §8.4).
pub fn is_hold(sdp: &[u8]) -> bool {
    match audio_direction(sdp) {
        Some(Direction::SendOnly | Direction::Inactive) => true,
        Some(Direction::SendRecv | Direction::RecvOnly) | None => false,
    }
}

/// The answer that declines every stream of an offer: its `m=` lines with port 0 (RFC 3264 §6).
pub fn refusal(offer: &[u8]) -> Vec<u8> {
    let mut answer = b"v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n".to_vec();
    for media in lines(offer).filter_map(|line| line.strip_prefix(b"m=")) {
        let mut fields = media.splitn(3, |byte| *byte == b' ');
        if let (Some(kind), Some(_port), Some(rest)) = (fields.next(), fields.next(), fields.next()) {
            answer.extend_from_slice(&[b"m=", kind, b" 0 ", rest, b"\r\n"].concat());
        }
    }
    answer
}

/// The formats of the first audio stream, and the lines that belong to it.
fn first_audio(sdp: &[u8]) -> Option<(impl Iterator<Item = &[u8]>, &[u8])> {
    let mut at = 0;
    while at < sdp.len() {
        let (end, next) = physical_line(sdp, at);
        if let Some(media) = sdp[at..end].strip_prefix(b"m=audio ") {
            let formats =
                media.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).skip(2).take(MAX_FORMATS);
            return Some((formats, section(&sdp[next..])));
        }
        at = next;
    }
    None
}

/// The lines up to the next stream.
fn section(text: &[u8]) -> &[u8] {
    let mut at = 0;
    while at < text.len() && !text[at..].starts_with(b"m=") {
        (_, at) = physical_line(text, at);
    }
    &text[..at]
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn direction(line: &[u8]) -> Option<Direction> {
    match line {
        b"a=sendrecv" => Some(Direction::SendRecv),
        b"a=sendonly" => Some(Direction::SendOnly),
        b"a=recvonly" => Some(Direction::RecvOnly),
        b"a=inactive" => Some(Direction::Inactive),
        _ => None,
    }
}

fn codec_name(format: &[u8], media: &[u8]) -> Option<String> {
    let mapped = lines(media).find_map(|line| {
        let mapping = line.strip_prefix(b"a=rtpmap:")?.strip_prefix(format)?.strip_prefix(b" ")?;
        let name_end = memchr::memchr(b'/', mapping).unwrap_or(mapping.len());
        Some(String::from_utf8_lossy(mapping[..name_end].trim_ascii()).into_owned())
    });
    mapped.or_else(|| static_codec(format).map(str::to_owned))
}

/// Audio payload types with a fixed meaning (RFC 3551 §6, table 4).
fn static_codec(format: &[u8]) -> Option<&'static str> {
    Some(match format {
        b"0" => "PCMU",
        b"3" => "GSM",
        b"4" => "G723",
        b"5" | b"6" | b"16" | b"17" => "DVI4",
        b"7" => "LPC",
        b"8" => "PCMA",
        b"9" => "G722",
        b"10" | b"11" => "L16",
        b"12" => "QCELP",
        b"13" => "CN",
        b"14" => "MPA",
        b"15" => "G728",
        b"18" => "G729",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_every_stream_of_the_offer_at_port_0() {
        let offer = b"v=0\r\nm=audio 4000 RTP/AVP 8 0\r\na=sendrecv\r\nm=video 4002 RTP/AVP 96\r\n";
        let answer = refusal(offer);
        let streams: Vec<_> = lines(&answer).filter(|line| line.starts_with(b"m=")).collect();
        assert_eq!(streams, [&b"m=audio 0 RTP/AVP 8 0"[..], b"m=video 0 RTP/AVP 96"]);
    }

    const SESSION: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";

    fn sdp(rest: &str) -> Vec<u8> {
        format!("{SESSION}{rest}").into_bytes()
    }

    #[test]
    fn the_first_codec_is_named_by_rtpmap_or_by_the_static_table() {
        let codec = |rest: &str| first_codec(&sdp(rest));
        assert_eq!(codec("m=audio 4000 RTP/AVP 18 8\r\n").as_deref(), Some("G729"));
        assert_eq!(codec("m=audio 4000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n").as_deref(), Some("PCMA"));
        let dynamic = "m=audio 4000 RTP/AVP 111 0\na=rtpmap:11 X/1\na=rtpmap:111 opus/48000/2\n";
        assert_eq!(codec(dynamic).as_deref(), Some("opus"));
        assert_eq!(codec("m=video 1 RTP/AVP 31\r\nm=audio 4 RTP/AVP 0\r\n").as_deref(), Some("PCMU"));
        assert_eq!(codec("m=audio 4000 RTP/AVP 99\r\n"), None);
        assert_eq!(codec("m=image 4000 udptl t38\r\n"), None);
        assert_eq!(first_codec(b"\0\xff"), None);
    }

    #[test]
    fn tones_are_not_the_codec() {
        let text = "m=audio 4000 RTP/AVP 101 13 8\r\na=rtpmap:101 telephone-event/8000\r\n";
        assert_eq!(first_codec(&sdp(text)).as_deref(), Some("PCMA"));
    }

    #[test]
    fn the_mapping_of_another_stream_does_not_count() {
        let text = "m=audio 4 RTP/AVP 96\r\nm=video 6 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n";
        assert_eq!(first_codec(&sdp(text)), None);
    }

    #[test]
    fn hold_is_by_direction_or_by_a_null_address() {
        let direction = |rest: &str| audio_direction(&sdp(rest));
        assert_eq!(direction("m=audio 4 RTP/AVP 8\r\n"), Some(Direction::SendRecv));
        assert_eq!(direction("m=audio 4 RTP/AVP 8\r\na=recvonly\r\n"), Some(Direction::RecvOnly));
        assert_eq!(direction("a=inactive\r\nm=audio 4 RTP/AVP 8\r\n"), Some(Direction::Inactive));
        assert_eq!(
            direction("a=inactive\r\nm=audio 4 RTP/AVP 8\r\na=sendrecv\r\n"),
            Some(Direction::SendRecv)
        );
        assert_eq!(direction("m=audio 4 RTP/AVP 8\r\nc=IN IP4 0.0.0.0\r\n"), Some(Direction::SendOnly));
        assert_eq!(direction("m=image 4 udptl t38\r\n"), None);
        assert!(is_hold(&sdp("m=audio 4 RTP/AVP 8\r\na=sendonly\r\n")));
        assert!(!is_hold(&sdp("m=audio 4 RTP/AVP 8\r\na=recvonly\r\n")));
    }
}
