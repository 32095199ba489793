//! The one child outside the namespace: the ClusterRoleBinding that lets a cluster's Message
//! Servers review tokens.

use kube::core::DynamicObject;
use serde_json::Value;

use super::Writer;
use super::failure::problem;
use crate::drift::{self, Whose};
use crate::metrics::Outcome;
use crate::model::{Child, ChildKind, Problem};

impl Writer<'_> {
    /// Makes or keeps the binding. One that an administrator made and that says the same is fine.
    pub(super) async fn bind(&mut self, child: &Child) -> Result<Outcome, Problem> {
        self.try_bind(child).await.map_err(|problem| match problem {
            Problem::Forbidden { .. } => {
                Problem::LinkIdentityNotAllowed { command: command(&child.name, &child.object) }
            }
            problem => problem,
        })
    }

    async fn try_bind(&mut self, child: &Child) -> Result<Outcome, Problem> {
        match self.look(child.kind, &child.name).await? {
            None => self.create_binding(child).await,
            Some(object) => self.keep_binding(child, &object).await,
        }
    }

    async fn keep_binding(
        &mut self,
        child: &Child,
        object: &DynamicObject,
    ) -> Result<Outcome, Problem> {
        let same_role = object.data["roleRef"]["name"] == child.object["roleRef"]["name"];
        match drift::whose_label(&object.metadata) {
            Whose::Ours if same_role => self.bring(child, object).await,
            // A binding's role can not be changed.
            Whose::Ours => {
                self.delete(child.kind, &object.metadata).await?;
                self.create_binding(child).await
            }
            _ if same_role && names_account(&object.data, &child.object) => Ok(Outcome::Unchanged),
            _ => Err(Problem::NameConflict { kind: child.kind, name: child.name.clone() }),
        }
    }

    async fn create_binding(&mut self, child: &Child) -> Result<Outcome, Problem> {
        let kind = ChildKind::ClusterRoleBinding;
        let rejected = |error: serde_json::Error| Problem::Rejected {
            kind,
            name: child.name.clone(),
            message: error.to_string(),
        };
        let object: DynamicObject =
            serde_json::from_value(child.object.clone()).map_err(rejected)?;
        match self.api(kind).create(&super::post(), &object).await {
            Ok(made) => {
                let intent = drift::intent(&child.object);
                self.apply(child, intent, &made.metadata).await?;
                Ok(Outcome::Created)
            }
            Err(error) => Err(problem(kind, &child.name, &error)),
        }
    }
}

/// Whether a binding names the account that is wanted.
fn names_account(there: &Value, wanted: &Value) -> bool {
    let subject = &wanted["subjects"][0];
    let is = |other: &Value| {
        ["kind", "name", "namespace"].iter().all(|field| other[*field] == subject[*field])
    };
    there["subjects"].as_array().is_some_and(|subjects| subjects.iter().any(is))
}

/// What an administrator runs to make the binding.
fn command(name: &str, object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (role, subject) = (text(&object["roleRef"]["name"]), &object["subjects"][0]);
    let (namespace, account) = (text(&subject["namespace"]), text(&subject["name"]));
    format!(
        "kubectl create clusterrolebinding {name} --clusterrole={role} \
         --serviceaccount={namespace}:{account}"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn binding() -> Value {
        json!({
            "roleRef": {"kind": "ClusterRole", "name": "review"},
            "subjects": [{"kind": "ServiceAccount", "name": "ward-message-server", "namespace": "h"}],
        })
    }

    #[test]
    fn the_command_makes_the_binding_that_is_wanted() {
        assert_eq!(
            command("wardlink:h.ward:token-review", &binding()),
            "kubectl create clusterrolebinding wardlink:h.ward:token-review \
             --clusterrole=review --serviceaccount=h:ward-message-server"
        );
    }

    #[test]
    fn an_administrators_binding_is_as_good_if_it_names_the_account() {
        let mut theirs = binding();
        theirs["subjects"][0]["apiGroup"] = json!("");
        assert!(names_account(&theirs, &binding()));
        theirs["subjects"][0]["namespace"] = json!("other");
        assert!(!names_account(&theirs, &binding()));
        assert!(!names_account(&json!({}), &binding()));
    }
}
