//! Bearer tokens (RFC 6750 §2.1).

use crate::problem::Problem;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::fmt;
use std::sync::Arc;
use subtle::{Choice, ConstantTimeEq};

/// A secret that opens the API. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token of that text.
    pub fn new(secret: impl Into<String>) -> Token {
        Token(secret.into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(***)")
    }
}

/// The tokens that open the API. With none configured it is open.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Arc<[Token]>);

impl Tokens {
    /// These tokens.
    pub fn new(tokens: impl IntoIterator<Item = Token>) -> Tokens {
        Tokens(tokens.into_iter().collect())
    }

    /// Whether a request with these headers may pass. Every token is compared whole, so that the time taken says
    /// nothing about how much of one was right.
    fn admit(&self, headers: &HeaderMap) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let Some(presented) = bearer(headers) else {
            return false;
        };
        let none = Choice::from(0);
        let found = self.0.iter().fold(none, |found, token| found | token.0.as_bytes().ct_eq(presented));
        found.into()
    }
}

/// The middleware before every `/api` route.
pub(crate) async fn require_token(State(tokens): State<Tokens>, request: Request, next: Next) -> Response {
    if tokens.admit(request.headers()) {
        next.run(request).await
    } else {
        Problem::new(StatusCode::UNAUTHORIZED, "this needs `Authorization: Bearer` with a configured token")
            .into_response()
    }
}

/// The credentials of a `Bearer` authorization; the scheme's name is case-insensitive (RFC 9110 §11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, secret) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| secret.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(authorization: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(authorization))])
    }

    #[test]
    fn any_configured_token_opens_and_nothing_else_does() {
        let tokens = Tokens::new([Token::new("first"), Token::new("second")]);
        for open in ["Bearer first", "bearer second", "BEARER  second "] {
            assert!(tokens.admit(&headers(open)), "{open}");
        }
        for shut in ["Bearer", "Bearer ", "Bearer firs", "Bearer firstx", "Basic first", "first", ""] {
            assert!(!tokens.admit(&headers(shut)), "{shut}");
        }
        assert!(!tokens.admit(&HeaderMap::new()));
    }

    #[test]
    fn no_configured_token_means_an_open_api() {
        assert!(Tokens::default().admit(&HeaderMap::new()));
    }

    #[test]
    fn a_token_is_never_printed() {
        assert!(!format!("{:?}", Tokens::new([Token::new("s3cret")])).contains("s3cret"));
    }
}
