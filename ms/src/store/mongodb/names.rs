//! Names of the database and of its collections, and which of them MongoDB takes.

/// What MongoDB takes as the name of a database, in bytes.
const DATABASE_MAX_BYTES: usize = 63;
/// What is left for a collection of the 255 bytes that MongoDB gives both names and their dot.
const COLLECTION_MAX_BYTES: usize = 255 - DATABASE_MAX_BYTES - 1;
/// Databases that are MongoDB's own.
const RESERVED: [&str; 3] = ["admin", "config", "local"];

/// Names of the database and of its collections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The database. `None`: the one in the URI, else `wardlink`.
    pub database: Option<String>,
    /// Who is where.
    pub registry: String,
    /// Messages that wait.
    pub mailbox: String,
    /// When each BS was last seen linked.
    pub servers: String,
    /// The view.
    pub views: String,
}

impl Names {
    /// The registry's unless another is given: that of the older deployments.
    pub const REGISTRY: &str = "wsendmaps";
    /// The mailbox's, likewise.
    pub const MAILBOX: &str = "msglists";
    /// That of the servers.
    pub const SERVERS: &str = "wsservers";
    /// That of the view.
    pub const VIEWS: &str = "wsviews";

    /// Two collections that have the same name, if there are such.
    pub fn same(&self) -> Option<&str> {
        let names = [&self.registry, &self.mailbox, &self.servers, &self.views];
        let repeated = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name));
        repeated.map(|(_, name)| name.as_str())
    }
}

impl Default for Names {
    fn default() -> Self {
        Self {
            database: None,
            registry: Self::REGISTRY.into(),
            mailbox: Self::MAILBOX.into(),
            servers: Self::SERVERS.into(),
            views: Self::VIEWS.into(),
        }
    }
}

/// Reads the name of a database.
///
/// # Errors
/// What is expected, in words.
pub fn parse_database(text: &str) -> Result<String, String> {
    let visible = |letter: char| !letter.is_whitespace() && !letter.is_control();
    let fits = (1..=DATABASE_MAX_BYTES).contains(&text.len())
        && text.chars().all(|letter| visible(letter) && !r#"/\."$*<>:|?"#.contains(letter));
    if !fits {
        return Err(format!(
            "expected 1 to {DATABASE_MAX_BYTES} bytes without spaces and without any of \
             / \\ . \" $ * < > : | ?"
        ));
    }
    if RESERVED.contains(&text.to_ascii_lowercase().as_str()) {
        return Err("admin, config and local are MongoDB's own".to_owned());
    }
    Ok(text.to_owned())
}

/// Reads the name of a collection.
///
/// # Errors
/// What is expected, in words.
pub fn parse_collection(text: &str) -> Result<String, String> {
    if text.starts_with("system.") || text.contains(".system.") {
        return Err("system. in a name is MongoDB's own".to_owned());
    }
    let visible = |letter: char| !letter.is_whitespace() && !letter.is_control();
    let fits = (1..=COLLECTION_MAX_BYTES).contains(&text.len())
        && text.starts_with(|letter: char| letter == '_' || letter.is_alphabetic())
        && !text.ends_with('.')
        && !text.contains("..")
        && text.chars().all(|letter| visible(letter) && letter != '$');
    let expected = || {
        format!(
            "expected 1 to {COLLECTION_MAX_BYTES} bytes that begin with a letter or _, without \
             spaces and $, and without an empty part between dots"
        )
    };
    fits.then(|| text.to_owned()).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mongodb_refuses_are_refused() {
        for name in ["w", "wardlink", "Ward-7_a", "système", &"x".repeat(63)] {
            assert_eq!(parse_database(name).as_deref(), Ok(name));
        }
        for name in ["", "a.b", "a b", "a/b", "a\\b", "a\"b", "a$", "a\0b", "a*b", &"x".repeat(64)]
        {
            assert!(parse_database(name).unwrap_err().starts_with("expected 1 to 63 bytes"));
        }
        for name in ["admin", "local", "config", "Admin"] {
            assert_eq!(
                parse_database(name).unwrap_err(),
                "admin, config and local are MongoDB's own"
            );
        }
        for name in ["w", "_w", "ward.rows", "systems", "my_system.x", &"x".repeat(191)] {
            assert_eq!(parse_collection(name).as_deref(), Ok(name));
        }
        for name in ["", ".a", "a.", "a..b", "a$b", "7a", "a b", "a\0", &"x".repeat(192)] {
            assert!(parse_collection(name).unwrap_err().starts_with("expected 1 to 191"), "{name}");
        }
        for name in ["system.views", "system.", "a.system.b"] {
            assert!(parse_collection(name).unwrap_err().starts_with("system."), "{name}");
        }
    }

    #[test]
    fn two_collections_of_one_name_are_found() {
        assert_eq!(Names::default().same(), None);
        let names = Names { views: Names::REGISTRY.into(), ..Names::default() };
        assert_eq!(names.same(), Some("wsendmaps"));
    }
}
