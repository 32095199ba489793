//! What a Business Server is told.

use wardlink_operator_api::LinkMode;

use super::{Arguments, Files, Server, port};
use crate::desired::Plan;
use crate::names::{self, Tier};
use crate::secrets;

/// Arguments and files of a Business Server.
pub(super) fn server(plan: &Plan<'_>) -> Server {
    let mut server = Server { arguments: Arguments::default(), files: Files::default() };
    links(plan, &mut server);
    identity(plan, &mut server);
    let business = &plan.cluster().spec.business_server;
    let Server { arguments, files } = &mut server;
    if !business.allowed_origins.is_empty() {
        arguments.push("allowed-origins", business.allowed_origins.join(","));
    }
    if let Some(tls) = &plan.cluster().spec.tls.terminals {
        let folder = files.secret("tls", &tls.secret_name, &["tls.crt", "tls.key"]);
        arguments.push("tls-cert", format_args!("{folder}/tls.crt"));
        arguments.push("tls-key", format_args!("{folder}/tls.key"));
    }
    let limits = &business.limits;
    arguments.push("max-terminals", limits.max_terminals);
    arguments.push("max-body-bytes", limits.max_body_bytes);
    arguments.push("session-rate", limits.session_rate);
    arguments.push("session-bytes-rate", limits.session_bytes_rate);
    arguments.push("accept-rate", limits.accept_rate);
    arguments.push("accept-burst", limits.accept_burst);
    server
}

/// The name ends in `.svc`, which the search list of every pod completes, whatever the domain of
/// the Kubernetes cluster is.
fn links(plan: &Plan<'_>, server: &mut Server) {
    let Server { arguments, files } = server;
    let spec = &plan.cluster().spec;
    let host = format!("{}.{}.svc", names::links_service(plan.name), plan.namespace);
    let tls = spec.tls.links.as_ref();
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    arguments.push("ms", format_args!("{scheme}://{host}:{}/link", port::LINKS.number));
    if spec.link_authentication.mode == LinkMode::PodIdentity {
        let audience = names::audience(plan.cluster());
        let expiration = spec.link_authentication.expiration_seconds;
        arguments.push("link-token-file", files.token("link", &audience, expiration));
    }
    if let Some(secret) = secrets::link(plan.cluster()) {
        arguments.push("link-secret-file", files.secret_key("link", &secret));
    }
    if let Some(tls) = tls {
        let own =
            || format!("{}.{}.svc", Tier::MessageServer.child_name(plan.name), plan.namespace);
        let folder = files.secret("link-ca", &tls.secret_name, &["ca.crt"]);
        arguments.push("tls-ca", format_args!("{folder}/ca.crt"));
        arguments.push("link-server-name", tls.server_name.clone().unwrap_or_else(own));
    }
}

fn identity(plan: &Plan<'_>, server: &mut Server) {
    let Server { arguments, files } = server;
    let identity = &plan.cluster().spec.business_server.identity;
    if let Some(keys) = secrets::identity(plan.cluster()) {
        arguments.push("jwt-keys", files.secret_key("identity", &keys));
    } else if let Some(url) = &identity.jwks_url {
        arguments.push("jwt-jwks-url", url);
    }
    if let Some(issuer) = &identity.issuer {
        arguments.push("jwt-issuer", issuer);
    }
    if !identity.audiences.is_empty() {
        arguments.push("jwt-audience", identity.audiences.join(","));
    }
    arguments.push("jwt-leeway", format_args!("{}s", identity.leeway_seconds));
    arguments.push("jwt-claim-hospital", &identity.claims.hospital);
    arguments.push("jwt-claim-area", &identity.claims.area);
    arguments.push("jwt-claim-uid", &identity.claims.uid);
}
