//! What a key file holds: PEM, JSON or a secret. Owns the rule by which they are told apart, so
//! that a public key is never taken for a secret.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::pem::{self, Block};
use super::{KEY_FILE_MAX_BYTES, KeyError, SECRET_MIN_BYTES};

const BYTE_ORDER_MARK: &str = "\u{feff}";
/// How SSH's public keys begin.
const SSH: [&str; 4] = ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"];

pub(crate) enum KeyFile<'a> {
    Pem(Vec<Block<'a>>),
    Json(&'a str),
    Secret(&'a [u8]),
}

impl<'a> KeyFile<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, KeyError> {
        if bytes.len() > KEY_FILE_MAX_BYTES {
            return Err(KeyError::TooLarge);
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Self::secret(bytes);
        };
        let text = text.trim_start_matches(BYTE_ORDER_MARK);
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(KeyError::Empty);
        }
        if trimmed.contains(pem::BEGIN) {
            return pem::blocks(trimmed).map(KeyFile::Pem).ok_or(KeyError::Pem);
        }
        if trimmed.starts_with('{') {
            return Ok(KeyFile::Json(trimmed));
        }
        if SSH.iter().any(|prefix| trimmed.starts_with(prefix)) || is_der_in_base64(trimmed) {
            return Err(KeyError::Format);
        }
        let line = text.trim_end_matches(['\n', '\r']);
        if line.chars().any(char::is_control) {
            Self::secret(bytes)
        } else {
            Self::secret(line.as_bytes())
        }
    }

    fn secret(secret: &'a [u8]) -> Result<Self, KeyError> {
        let marked = secret.windows(pem::BEGIN.len()).any(|it| it == pem::BEGIN.as_bytes());
        if marked || is_der(secret) {
            return Err(KeyError::Format);
        }
        if secret.len() < SECRET_MIN_BYTES {
            return Err(KeyError::ShortSecret);
        }
        Ok(KeyFile::Secret(secret))
    }
}

/// Whether these bytes are one DER sequence that begins with a sequence or an integer, as all
/// keys and certificates do. Of random secrets one in four billion looks so.
fn is_der(bytes: &[u8]) -> bool {
    let (length, content) = match bytes {
        [0x30, length @ 0..=0x7f, content @ ..] => (usize::from(*length), content),
        [0x30, 0x81, length, content @ ..] => (usize::from(*length), content),
        [0x30, 0x82, a, b, content @ ..] => (usize::from(u16::from_be_bytes([*a, *b])), content),
        _ => return false,
    };
    length == content.len() && matches!(content.first(), Some(0x30 | 0x02))
}

fn is_der_in_base64(text: &str) -> bool {
    let compact: String = text.split_ascii_whitespace().collect();
    let padded = format!("{}{}", compact, "=".repeat((4 - compact.len() % 4) % 4));
    [STANDARD, URL_SAFE].iter().any(|base| base.decode(&padded).is_ok_and(|der| is_der(&der)))
}
