//! Messages gone wrong: a small generator and what it does to a text.

/// SplitMix64: one state word, so that a seed and an iteration give the same mutant everywhere.
pub(crate) struct Random(u64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The generator of one iteration.
    pub(crate) fn of(seed: u64, iteration: u64) -> Random {
        let mut random = Random(seed ^ iteration.wrapping_mul(STEP));
        random.next();
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// A range of at most `longest` within a text of that length.
    fn range(&mut self, length: usize, longest: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..(start + self.below(longest + 1)).min(length)
    }
}

/// Bytes that mean something to a parser.
const SIGNS: &[u8] = b"\0\r\n\t ,;:=<>\"\\@[]()%*?&/-+.~\x7f\x80\xff";

const NUMBERS: [&[u8]; 12] = [
    b"0",
    b"-1",
    b"255",
    b"256",
    b"65536",
    b"2147483647",
    b"2147483648",
    b"4294967296",
    b"18446744073709551616",
    b"00000000000000000000000000000000000000001",
    b"99999999999999999999999999999999999999999999999999",
    b"1e9",
];

const LINE_ENDS: [&[u8]; 8] = [b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n ", b"\r\n\t\r\n ", b"\r\n\r\n", b""];

const FRAGMENTS: [&[u8]; 12] = [
    b"Content-Length: 0\r\n",
    b"l: 7\r\n",
    b"Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n",
    b"v: SIP/2.0/TCP [::1]:5060;rport;received=::1,\r\n",
    b";tag=1",
    b"\"\\\"",
    b"<sip:",
    b">;;",
    b" SIP/2.0\r\n",
    b"%00%zz%",
    b"Content-Type: multipart/mixed;boundary=b\r\n\r\n--b\r\n",
    b"CSeq: 1 INVITE\r\n",
];

/// Changes the text in one to four ways. `donor` is another message to take pieces from.
pub(crate) fn mutate(text: &mut Vec<u8>, donor: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        match random.below(12) {
            0 => flip_bits(text, random),
            1 => put(text, random, |random| SIGNS[random.below(SIGNS.len())]),
            2 => put(text, random, |random| random.next() as u8),
            3 => replace_range(text, random, donor),
            4 => duplicate(text, random),
            5 => {
                let range = random.range(text.len(), 60);
                text.drain(range);
            }
            6 => text.truncate(random.below(text.len() + 1)),
            7 => change_line_end(text, random),
            8 => change_number(text, random),
            9 => swap_lines(text, random),
            10 => insert(text, random, |random| random.pick(&FRAGMENTS).to_vec()),
            _ => insert(text, random, |random| vec![SIGNS[random.below(SIGNS.len())]; random.below(300)]),
        }
    }
}

fn flip_bits(text: &mut [u8], random: &mut Random) {
    for _ in 0..=random.below(6) {
        let at = random.below(text.len());
        if let Some(byte) = text.get_mut(at) {
            *byte ^= 1 << random.below(8);
        }
    }
}

fn put(text: &mut [u8], random: &mut Random, byte: impl Fn(&mut Random) -> u8) {
    for _ in 0..=random.below(4) {
        let at = random.below(text.len());
        let new = byte(random);
        if let Some(byte) = text.get_mut(at) {
            *byte = new;
        }
    }
}

fn replace_range(text: &mut Vec<u8>, random: &mut Random, donor: &[u8]) {
    let (target, source) = (random.range(text.len(), 100), random.range(donor.len(), 200));
    text.splice(target, donor[source].iter().copied());
}

fn duplicate(text: &mut Vec<u8>, random: &mut Random) {
    let range = random.range(text.len(), 120);
    let piece = text[range.clone()].repeat(1 + random.below(6));
    text.splice(range.start..range.start, piece);
}

fn insert(text: &mut Vec<u8>, random: &mut Random, piece: impl Fn(&mut Random) -> Vec<u8>) {
    let at = random.below(text.len() + 1);
    let piece = piece(random);
    text.splice(at..at, piece);
}

fn change_line_end(text: &mut Vec<u8>, random: &mut Random) {
    let from = random.below(text.len());
    if let Some(at) = text[from..].windows(2).position(|pair| pair == b"\r\n") {
        let end = random.pick(&LINE_ENDS);
        text.splice(from + at..from + at + 2, end.iter().copied());
    }
}

fn change_number(text: &mut Vec<u8>, random: &mut Random) {
    let from = random.below(text.len());
    if let Some(start) = text[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) {
        let length = text[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = random.pick(&NUMBERS);
        text.splice(start..start + length, number.iter().copied());
    }
}

fn swap_lines(text: &mut [u8], random: &mut Random) {
    let from = random.below(text.len());
    let mut ends =
        text[from..].iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| from + at + 1);
    if let (Some(first), Some(second), Some(third)) = (ends.next(), ends.next(), ends.next()) {
        text[first..third].rotate_left(second - first);
    }
}
