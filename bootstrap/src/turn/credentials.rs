//! Time-limited credentials in the form that coturn calls `use-auth-secret`:
//! the user name is `<end, Unix seconds>:<random>`, the password is
//! Base64(HMAC-SHA1(secret, user name)). Whoever has the secret can mint and
//! check them; nobody has to remember them.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::{Digest as _, Md5};
use sha1::Sha1;

/// Bytes of a user name.
pub const USERNAME_BYTES_MAX: usize = 128;

/// HMAC-SHA1 of `parts` under `key`.
pub(super) fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    // A key of any length is taken.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else { return [0; 20] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// What credentials are minted and checked with: the secret, and the one
/// before it while clients still hold credentials of it. Never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets {
    /// New credentials are minted with this one.
    pub current: String,
    /// Still accepted.
    pub previous: Option<String>,
}

impl core::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

impl Secrets {
    /// The user name for `id` until `end_s`, and its password.
    #[must_use]
    pub fn mint(&self, end_s: u64, id: &str) -> (String, String) {
        let username = format!("{end_s}:{id}");
        let password = password(&self.current, &username);
        (username, password)
    }

    /// The keys of the long-term mechanism that a user name may have.
    pub(super) fn keys(&self, username: &str, realm: &str) -> impl Iterator<Item = [u8; 16]> {
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .map(move |secret| key(&password(secret, username), username, realm))
    }
}

fn password(secret: &str, username: &str) -> String {
    BASE64.encode(&hmac_sha1(secret.as_bytes(), &[username.as_bytes()]))
}

/// When the user name's right ends, Unix seconds; `None` if it is no such name.
pub(super) fn end_s(username: &str) -> Option<u64> {
    let (end, id) = username.split_once(':')?;
    if username.len() > USERNAME_BYTES_MAX || id.is_empty() || end.len() > 12 {
        return None;
    }
    end.parse().ok()
}

/// The key of the long-term mechanism.
pub(super) fn key(password: &str, username: &str, realm: &str) -> [u8; 16] {
    let mut md5 = Md5::new();
    md5.update(format!("{username}:{realm}:{password}").as_bytes());
    md5.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_that_of_coturn() {
        // printf '%s' '1433895918:user' | openssl dgst -sha1 -hmac 'north' -binary | base64
        let secrets = Secrets { current: "north".into(), previous: None };
        let (username, password) = secrets.mint(1_433_895_918, "user");
        assert_eq!(
            (username.as_str(), password.as_str()),
            ("1433895918:user", "/gk4t5tUc08OpM3NjrVjHSFVNmY=")
        );
        // RFC 8489, section 9.2.2.
        assert_eq!(
            data_encoding::HEXLOWER.encode(&key("pass", "user", "realm")),
            "8493fbc53ba582fb4c044c456bdc40eb"
        );
    }

    #[test]
    fn only_user_names_with_an_end_count() {
        assert_eq!(end_s("5:a"), Some(5));
        for bad in ["", "5", "5:", ":a", "-1:a", "x:a", "99999999999999:a"] {
            assert_eq!(end_s(bad), None, "{bad}");
        }
        assert_eq!(end_s(&format!("5:{}", "a".repeat(USERNAME_BYTES_MAX))), None);
    }
}
