//! The images, as pods.

use wardlink_cluster_tests::{Cluster, PATIENCE, Security, image};

/// An MS with an embedded store, and two BSs that find it by its Service's name.
fn servers() -> String {
    let security = "allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}";
    let probe = "readinessProbe: {httpGet: {path: /readyz, port: 9090}, periodSeconds: 1}";
    let tier = |name: &str, replicas: u8, args: &str| {
        format!(
            r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      enableServiceLinks: false
      automountServiceAccountToken: false
      securityContext: {{runAsNonRoot: true, fsGroup: 65532, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: {name}
        image: "{}"
        imagePullPolicy: IfNotPresent
        args: [{args}]
        {probe}
        securityContext: {{{security}}}
        volumeMounts: [{{name: data, mountPath: /data}}, {{name: secrets, mountPath: /secrets}}]
      volumes:
      - {{name: data, emptyDir: {{}}}}
      - {{name: secrets, secret: {{secretName: secrets}}}}
---"#,
            image(name)
        )
    };
    let ms = r#"--store, "embedded:/data/store", --link-secret-file, /secrets/link"#;
    let bs =
        r#"--ms, "ws://ms:7070/link", --link-secret-file, /secrets/link, --jwt-keys, /secrets/jwt"#;
    let rest = r#"
apiVersion: v1
kind: Service
metadata: {name: ms}
spec: {selector: {app: ms}, publishNotReadyAddresses: true, clusterIP: None, ports: [{port: 7070}]}
---
apiVersion: v1
kind: Secret
metadata: {name: secrets}
stringData: {link: 0123456789abcdef0123456789abcdef, jwt: 0123456789abcdef0123456789abcdef}
"#;
    format!("{}{}{rest}", tier("ms", 1, ms), tier("bs", 2, bs))
}

#[tokio::test]
async fn the_servers_run_restricted_and_find_each_other_by_name() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            ns.apply(&servers()).await?;
            // A BS is ready once it has a link to its MS.
            ns.await_condition("deployment/ms", "condition=Available", PATIENCE).await?;
            ns.await_condition("deployment/bs", "jsonpath={.status.readyReplicas}=2", PATIENCE)
                .await
        })
        .await
}
