//! Settings of the store: where it is, and the names in it.

use std::path::PathBuf;

use clap::Args;
use wardlink_service::settings::BadSetting;
use wardlink_tls::{Connector, line};

use crate::store::StoreUri;
use crate::store::mongodb::{Names, parse_collection, parse_database};

/// Settings of the store.
#[derive(Debug, Args)]
pub(super) struct StoreSettings {
    /// `embedded:DIR`, or a mongodb:// or mongodb+srv:// URI without a password.
    #[arg(
        long,
        env = "WARDLINK_STORE",
        default_value = "embedded:./wardlink-data",
        conflicts_with = "store_file"
    )]
    store: StoreUri,

    /// File that holds the URI of the store, for one with a password.
    #[arg(long, env = "WARDLINK_STORE_FILE", value_name = "FILE")]
    store_file: Option<PathBuf>,

    /// Database in MongoDB [default: the one in the URI, else wardlink]
    #[arg(long, env = "WARDLINK_STORE_DATABASE", value_name = "NAME", value_parser = parse_database)]
    store_database: Option<String>,

    /// Authorities of MongoDB's certificate, in PEM: connections are TLS, and this file counts in
    /// place of tlsCAFile in the URI. Read at start.
    #[arg(long, env = "WARDLINK_STORE_TLS_CA", value_name = "FILE")]
    store_tls_ca: Option<PathBuf>,

    /// Collection of MongoDB that says who is where.
    #[arg(long, env = "WARDLINK_REGISTRY_COLLECTION", value_name = "NAME")]
    #[arg(default_value = Names::REGISTRY, value_parser = parse_collection)]
    registry_collection: String,

    /// Collection of the messages that wait.
    #[arg(long, env = "WARDLINK_MAILBOX_COLLECTION", value_name = "NAME")]
    #[arg(default_value = Names::MAILBOX, value_parser = parse_collection)]
    mailbox_collection: String,

    /// Collection that says when each Business Server was last linked.
    #[arg(long, env = "WARDLINK_SERVERS_COLLECTION", value_name = "NAME")]
    #[arg(default_value = Names::SERVERS, value_parser = parse_collection)]
    servers_collection: String,

    /// Collection of the view: which Message Server serves which ends.
    #[arg(long, env = "WARDLINK_VIEWS_COLLECTION", value_name = "NAME")]
    #[arg(default_value = Names::VIEWS, value_parser = parse_collection)]
    views_collection: String,
}

/// Where the store is, what is where in it, and the authorities of its certificate.
pub(super) type StorePlace = (StoreUri, Names, Option<PathBuf>);

impl StoreSettings {
    /// Checks what single settings cannot, and reads the files that are named.
    ///
    /// # Errors
    /// The setting, and what it expects.
    pub(super) fn place(self) -> Result<StorePlace, BadSetting> {
        let names = Names {
            database: self.store_database,
            registry: self.registry_collection,
            mailbox: self.mailbox_collection,
            servers: self.servers_collection,
            views: self.views_collection,
        };
        if let Some(name) = names.same() {
            return Err(BadSetting::new(
                "--registry-collection, --mailbox-collection, --servers-collection, \
                 --views-collection",
                format!("expected four names, and {name} is there twice"),
            ));
        }
        let store = uri(self.store, self.store_file)?;
        if matches!(store, StoreUri::Embedded(_)) {
            let problem = "has a use only with a store in MongoDB";
            if self.store_tls_ca.is_some() {
                return Err(BadSetting::new("--store-tls-ca", problem));
            }
            if names.database.is_some() {
                return Err(BadSetting::new("--store-database", problem));
            }
            if names != Names::default() {
                return Err(BadSetting::new("a collection's name", problem));
            }
        }
        if let Some(file) = &self.store_tls_ca {
            // The driver passes over what it cannot read in it.
            Connector::new(Some(file.clone()), None)
                .map_err(|error| BadSetting::new("--store-tls-ca", line(&error)))?;
        }
        Ok((store, names, self.store_tls_ca))
    }
}

fn uri(store: StoreUri, file: Option<PathBuf>) -> Result<StoreUri, BadSetting> {
    match file {
        None if store.has_password() => Err(BadSetting::new(
            "--store",
            "holds a password, which every user of this machine could read: put the URI into a \
             file and name it with --store-file",
        )),
        None => Ok(store),
        Some(file) => std::fs::read_to_string(&file)
            .map_err(|error| BadSetting::new("--store-file", error.to_string()))?
            .trim()
            .parse()
            .map_err(|error: String| BadSetting::new("--store-file", error)),
    }
}
