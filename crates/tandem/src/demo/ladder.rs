//! A ladder diagram: who sent what to whom, in order.

use std::net::SocketAddr;
use tandem_node::Tapped;

/// Characters between two lifelines.
const WIDTH: usize = 30;

/// Columns of the time on the left.
const TIME: usize = 9;

/// Prints the ladder of messages between these parties.
pub(super) fn print(parties: &[(SocketAddr, &str)], messages: &[Tapped]) {
    let names: String = parties.iter().map(|(_, name)| format!("{name:<WIDTH$}")).collect();
    println!("{:TIME$}{}", "", names.trim_end());
    let begin = messages.first().map(|message| message.at).unwrap_or_default();
    for message in messages {
        let place = |address: SocketAddr| parties.iter().position(|(party, _)| *party == address);
        if let (Some(from), Some(to)) = (place(message.from), place(message.to)) {
            let at = message.at.since(begin).as_millis();
            println!("{:>5} ms {}", at, rung(parties.len(), from, to, &summary(&message.message)));
        }
    }
}

/// Prints the messages themselves.
pub(super) fn print_messages(parties: &[(SocketAddr, &str)], messages: &[Tapped]) {
    let name = |address: SocketAddr| {
        parties
            .iter()
            .find(|(party, _)| *party == address)
            .map_or_else(|| address.to_string(), |(_, name)| (*name).to_owned())
    };
    for message in messages {
        println!(
            "\n--- {} to {} ---\n{}",
            name(message.from),
            name(message.to),
            String::from_utf8_lossy(&message.message)
        );
    }
}

/// The method and the body's kind, or the status.
fn summary(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    let first = text.lines().next().unwrap_or_default();
    let what = match first.strip_prefix("SIP/2.0 ") {
        Some(status) => status.to_owned(),
        None => first.split(' ').next().unwrap_or_default().to_owned(),
    };
    if text.contains("\r\nm=") { format!("{what} (SDP)") } else { what }
}

/// One line: every party's lifeline, and an arrow that passes over those in between.
fn rung(parties: usize, from: usize, to: usize, label: &str) -> String {
    let (left, right) = (from.min(to), from.max(to));
    let length = (right - left) * WIDTH - 1;
    let label: String = label.chars().take(length - 4).collect();
    let shaft = "-".repeat(length - 4 - label.chars().count());
    let arrow = if from < to { format!("- {label} {shaft}>") } else { format!("<{shaft} {label} -") };
    let gap = " ".repeat(WIDTH - 1);
    let before: String = (0..left).map(|_| format!("|{gap}")).collect();
    let after: String = (right..parties - 1).map(|_| format!("|{gap}")).collect();
    format!("{before}|{arrow}{after}|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrow_points_from_the_sender_to_the_receiver() {
        let line = rung(3, 0, 1, "INVITE");
        assert!(line.starts_with("|- INVITE ") && line.contains(">|"), "{line}");
        let back = rung(3, 1, 0, "100 Trying");
        assert!(back.starts_with("|<") && back.contains("100 Trying -|"), "{back}");
    }

    #[test]
    fn lifelines_stay_in_their_columns() {
        for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 1), (1, 3), (3, 1)] {
            let line = rung(4, from, to, "INVITE (SDP)");
            let bar = |column: usize| line.chars().nth(column * WIDTH);
            assert_eq!(bar(from), Some('|'), "{line}");
            assert_eq!(bar(to), Some('|'), "{line}");
            assert_eq!(bar(3), Some('|'), "{line}");
        }
    }
}
