//! What a server knows a user by.

use super::{Algorithm, Hash};
use std::fmt;

/// The hashes of a user's name, realm and password (`HA1`), one for each hash function that the user can be checked
/// with. They are as good as the password in their realm, so `Debug` does not show them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Ha1 {
    md5: Option<Box<str>>,
    sha256: Option<Box<str>>,
}

impl Ha1 {
    /// The hashes of a password.
    pub fn of_password(username: &str, realm: &str, password: &str) -> Self {
        let ha1 = |hash| Algorithm { hash, session: false }.ha1(username, realm.as_bytes(), password).into();
        Self { md5: Some(ha1(Hash::Md5)), sha256: Some(ha1(Hash::Sha256)) }
    }

    /// Adds a hash in hexadecimal: 32 digits are of MD5, 64 of SHA-256. `None` for anything else.
    #[must_use]
    pub fn and(mut self, digits: &str) -> Option<Self> {
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let ha1 = Some(digits.to_ascii_lowercase().into());
        match digits.len() {
            32 => self.md5 = ha1,
            64 => self.sha256 = ha1,
            _ => return None,
        }
        Some(self)
    }

    /// The hash of one function, if it is known.
    pub fn of(&self, hash: Hash) -> Option<&str> {
        match hash {
            Hash::Md5 => self.md5.as_deref(),
            Hash::Sha256 => self.sha256.as_deref(),
            Hash::Sha512_256 => None,
        }
    }
}

impl fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
