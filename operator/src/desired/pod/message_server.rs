//! What a Message Server is told.

use wardlink_operator_api::LinkMode;

use super::{Arguments, Files, Server};
use crate::desired::Plan;
use crate::names::{self, Tier};
use crate::secrets;

/// Arguments and files of a Message Server.
pub(super) fn server(plan: &Plan<'_>) -> Server {
    let mut server = Server { arguments: Arguments::default(), files: Files::default() };
    store(plan, &mut server);
    links(plan, &mut server);
    let limits = &plan.cluster().spec.message_server.limits;
    let arguments = &mut server.arguments;
    arguments.push("max-links", limits.max_links);
    arguments.push("mailbox-max", limits.mailbox_max);
    arguments.push("accept-rate", limits.accept_rate);
    arguments.push("accept-burst", limits.accept_burst);
    server
}

fn store(plan: &Plan<'_>, server: &mut Server) {
    let Server { arguments, files } = server;
    let uri = secrets::mongodb_uri(plan.cluster());
    arguments.push("store-file", files.secret_key("mongodb", &uri));
    if let Some(ca) = secrets::mongodb_ca(plan.cluster()) {
        arguments.push("store-tls-ca", files.secret_key("mongodb-ca", &ca));
    }
    let mongodb = &plan.cluster().spec.storage.mongodb;
    arguments.push("store-database", &mongodb.database);
    arguments.push("registry-collection", &mongodb.collections.registry);
    arguments.push("mailbox-collection", &mongodb.collections.mailbox);
    arguments.push("servers-collection", &mongodb.collections.servers);
    arguments.push("views-collection", &mongodb.collections.views);
    arguments.push("indexes", "require");
    arguments.push("message-ttl", format_args!("{}s", plan.inputs.server_message_ttl_seconds));
}

fn links(plan: &Plan<'_>, server: &mut Server) {
    let Server { arguments, files } = server;
    let spec = &plan.cluster().spec;
    match spec.link_authentication.mode {
        LinkMode::PodIdentity => {
            let account = Tier::BusinessServer.child_name(plan.name);
            arguments.push("link-auth", "kubernetes");
            arguments.push("link-audience", names::audience(plan.cluster()));
            arguments.push("link-account", format_args!("{}/{account}", plan.namespace));
            files.api_access();
        }
        LinkMode::SharedSecret => arguments.push("link-auth", "secret"),
    }
    if let Some(secret) = secrets::link(plan.cluster()) {
        arguments.push("link-secret-file", files.secret_key("link", &secret));
    }
    if let Some(tls) = &spec.tls.links {
        let folder = files.secret("tls", &tls.secret_name, &["tls.crt", "tls.key"]);
        arguments.push("tls-cert", format_args!("{folder}/tls.crt"));
        arguments.push("tls-key", format_args!("{folder}/tls.key"));
    }
}
