//! Where a store is: `embedded:DIR`, or a MongoDB URI. Its text never shows a password.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Location of a store.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUri {
    /// A folder of the embedded store.
    Embedded(PathBuf),
    /// A MongoDB connection string.
    Mongo(String),
}

impl StoreUri {
    /// Whether the URI holds a password.
    pub fn has_password(&self) -> bool {
        match self {
            StoreUri::Embedded(_) => false,
            StoreUri::Mongo(uri) => user_info(uri).is_some_and(|info| info.contains(':')),
        }
    }
}

fn user_info(uri: &str) -> Option<&str> {
    let rest = uri.split_once("://")?.1;
    let authority = rest.split(['/', '?']).next()?;
    authority.rsplit_once('@').map(|(info, _)| info)
}

impl FromStr for StoreUri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(dir) = text.strip_prefix("embedded:") {
            if dir.is_empty() {
                return Err("embedded: must name a folder".to_owned());
            }
            return Ok(Self::Embedded(dir.into()));
        }
        if text.starts_with("mongodb://") || text.starts_with("mongodb+srv://") {
            return Ok(Self::Mongo(text.to_owned()));
        }
        Err("must be embedded:DIR, mongodb://… or mongodb+srv://…".to_owned())
    }
}

impl fmt::Display for StoreUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreUri::Embedded(dir) => write!(f, "embedded:{}", dir.display()),
            StoreUri::Mongo(uri) => match user_info(uri) {
                Some(info) => f.write_str(&uri.replacen(info, "…", 1)),
                None => f.write_str(uri),
            },
        }
    }
}

impl fmt::Debug for StoreUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_found_and_never_shown() {
        let uri: StoreUri = "mongodb://u:p%40ss@db1,db2/wardlink?replicaSet=r".parse().unwrap();
        assert!(uri.has_password());
        assert_eq!(format!("{uri:?}"), "mongodb://…@db1,db2/wardlink?replicaSet=r");
        let uri: StoreUri = "mongodb://127.0.0.1:27017/?a=b@c".parse().unwrap();
        assert!(!uri.has_password());
        assert!("postgres://x".parse::<StoreUri>().is_err());
        assert!("embedded:".parse::<StoreUri>().is_err());
    }
}
