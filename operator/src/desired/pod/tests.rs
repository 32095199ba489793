use serde_json::{Value, json};

use super::*;
use crate::desired::fixtures::object;
use crate::model::ChildKind;

fn pod(spec: Value, tier: Tier) -> Value {
    let name = tier.child_name("ward");
    let deployment = object(spec, ChildKind::Deployment, &name).unwrap();
    deployment["spec"]["template"].clone()
}

fn arguments(spec: Value, tier: Tier) -> Vec<String> {
    let pod = pod(spec, tier);
    serde_json::from_value(pod["spec"]["containers"][0]["args"].clone()).unwrap()
}

/// Volumes by name, and where they are mounted.
fn files(spec: Value, tier: Tier) -> Vec<(String, String)> {
    let pod = pod(spec, tier);
    let mounts = pod["spec"]["containers"][0]["volumeMounts"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    mounts.iter().map(|mount| (text(&mount["name"]), text(&mount["mountPath"]))).collect()
}

fn shared() -> Value {
    json!({"linkAuthentication": {"mode": "SharedSecret"}})
}

#[test]
fn pods_are_confined_as_pod_security_restricted_demands() {
    for tier in Tier::ALL {
        let pod = pod(json!({}), tier);
        let (spec, container) = (&pod["spec"], &pod["spec"]["containers"][0]);
        assert_eq!(
            spec["securityContext"],
            json!({
                "runAsNonRoot": true,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            })
        );
        assert_eq!(
            container["securityContext"],
            json!({
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            })
        );
        assert_eq!(spec["enableServiceLinks"], false);
        assert_eq!(spec["automountServiceAccountToken"], false);
        assert_eq!(spec["serviceAccountName"], tier.child_name("ward"));
        assert_eq!(container["terminationMessagePolicy"], "FallbackToLogsOnError");
    }
}

#[test]
fn with_pod_identity_a_business_server_has_its_token_and_a_message_server_asks_about_it() {
    let ms = arguments(json!({}), Tier::MessageServer);
    let audience = "ward.clinic.wardlink.dev";
    for expected in [
        "--link-auth=kubernetes",
        "--link-audience=ward.clinic.wardlink.dev",
        "--link-account=clinic/ward-business-server",
    ] {
        assert!(ms.iter().any(|argument| argument == expected), "{expected}: {ms:?}");
    }
    let access = ("api-access".to_owned(), API_ACCESS.to_owned());
    assert!(files(json!({}), Tier::MessageServer).contains(&access));

    let bs = pod(json!({}), Tier::BusinessServer);
    let token = json!({"path": "token", "audience": audience, "expirationSeconds": 3600});
    let volumes = bs["spec"]["volumes"].as_array().unwrap();
    let link = volumes.iter().find(|volume| volume["name"] == "link").unwrap();
    assert_eq!(link["projected"]["sources"], json!([{"serviceAccountToken": token}]));
    let bs = arguments(json!({}), Tier::BusinessServer);
    assert!(bs.contains(&"--link-token-file=/etc/wardlink/link/token".to_owned()), "{bs:?}");
    assert!(!files(json!({}), Tier::BusinessServer).contains(&access));
}

const API_ACCESS: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

#[test]
fn with_a_shared_secret_nobody_gets_a_token_and_both_read_the_secret() {
    let file = "--link-secret-file=/etc/wardlink/link/secret".to_owned();
    for tier in Tier::ALL {
        assert!(arguments(shared(), tier).contains(&file));
        let pod = pod(shared(), tier);
        assert!(!pod.to_string().contains("serviceAccountToken"));
    }
    let pod = pod(shared(), Tier::BusinessServer);
    assert_eq!(
        pod["spec"]["containers"][0]["env"],
        json!([{
            "name": "WARDLINK_SERVER_ID",
            "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}},
        }])
    );
}

#[test]
fn no_key_of_the_message_servers_certificate_is_in_a_business_server() {
    let tls = || json!({"tls": {"links": {"secretName": "ward-links"}}});
    let keys = |tier: Tier, volume: &str| {
        let pod = pod(tls(), tier);
        let volumes = pod["spec"]["volumes"].as_array().unwrap();
        let volume = volumes.iter().find(|found| found["name"] == volume).unwrap();
        assert_eq!(volume["secret"]["secretName"], "ward-links");
        let items = volume["secret"]["items"].as_array().unwrap();
        items.iter().map(|item| item["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys(Tier::MessageServer, "tls"), ["tls.crt", "tls.key"]);
    assert_eq!(keys(Tier::BusinessServer, "link-ca"), ["ca.crt"]);
    let bs = arguments(tls(), Tier::BusinessServer);
    for expected in [
        "--ms=wss://ward-message-server-links.clinic.svc:7070/link",
        "--tls-ca=/etc/wardlink/link-ca/ca.crt",
        "--link-server-name=ward-message-server.clinic.svc",
    ] {
        assert!(bs.iter().any(|argument| argument == expected), "{expected}: {bs:?}");
    }
}

#[test]
fn a_pod_sleeps_before_its_server_hears_that_it_is_to_end_unless_it_shall_not() {
    let pre_stop = |delay: u32| {
        let spec = json!({"businessServer": {"drain": {"delaySeconds": delay}}});
        pod(spec, Tier::BusinessServer)["spec"]["containers"][0]["lifecycle"].clone()
    };
    assert_eq!(pre_stop(7), json!({"preStop": {"sleep": {"seconds": 7}}}));
    assert_eq!(pre_stop(0), Value::Null);
}

#[test]
fn only_a_server_that_has_not_answered_for_a_minute_is_restarted() {
    for tier in Tier::ALL {
        let container = pod(json!({}), tier)["spec"]["containers"][0].clone();
        let seconds = |probe: &Value| {
            probe["periodSeconds"].as_i64().unwrap() * probe["failureThreshold"].as_i64().unwrap()
        };
        let (startup, liveness) = (&container["startupProbe"], &container["livenessProbe"]);
        assert!(seconds(startup) >= 60 && seconds(liveness) >= 60);
        for (probe, path) in
            [(startup, "/livez"), (liveness, "/livez"), (&container["readinessProbe"], "/readyz")]
        {
            assert_eq!(probe["httpGet"], json!({"path": path, "port": "admin"}));
        }
    }
}

#[test]
fn a_constraint_without_a_selector_is_about_the_tiers_pods() {
    let of = |constraints: Value| {
        let spec = json!({"messageServer": {"topologySpreadConstraints": constraints}});
        pod(spec, Tier::MessageServer)["spec"]["topologySpreadConstraints"].clone()
    };
    let hard = json!({
        "topologyKey": "rack", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
    });
    let spread = of(json!([hard]));
    assert_eq!(spread[0]["whenUnsatisfiable"], "DoNotSchedule");
    let component = "app.kubernetes.io/component";
    assert_eq!(spread[0]["labelSelector"]["matchLabels"][component], "message-server");
    assert_eq!(of(json!([])), Value::Null);
}

#[test]
fn what_kubernetes_would_take_for_a_variable_reaches_the_server_as_it_is() {
    let identity = json!({"issuer": "https://id/$(HOME)?$$", "audiences": ["a", "b"]});
    let arguments =
        arguments(json!({"businessServer": {"identity": identity}}), Tier::BusinessServer);
    assert!(arguments.contains(&"--jwt-issuer=https://id/$$(HOME)?$$$$".to_owned()));
    assert!(arguments.contains(&"--jwt-audience=a,b".to_owned()));
}

#[test]
fn the_operators_labels_win_over_those_of_the_resource() {
    let labels = json!({"app.kubernetes.io/component": "mine", "team": "clinic"});
    let pod = pod(json!({"messageServer": {"podLabels": labels}}), Tier::MessageServer);
    assert_eq!(pod["metadata"]["labels"]["app.kubernetes.io/component"], "message-server");
    assert_eq!(pod["metadata"]["labels"]["team"], "clinic");
}
