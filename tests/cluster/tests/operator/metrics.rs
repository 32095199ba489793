//! What the operator shows at `/metrics` is what docs/OPERATIONS.md says, no more and no less.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use wardlink_cluster_tests::{Cluster, Operator, Security};

const DOCUMENT: &str = include_str!("../../../../docs/OPERATIONS.md");
const PREFIX: &str = "wardlink_operator_";

/// Type and label names by metric.
type Shapes = BTreeMap<String, (String, BTreeSet<String>)>;

fn documented() -> Shapes {
    let ticked = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let rows = DOCUMENT.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let &["", name, kind, labels, _unit, _meaning, ""] = cells.as_slice() else { return None };
        let name = name.trim_matches('`');
        name.starts_with(PREFIX).then(|| (name.to_owned(), (kind.to_owned(), ticked(labels))))
    });
    rows.collect()
}

fn shown(text: &str) -> Shapes {
    let mut shapes = Shapes::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
            name.clone_into(&mut current);
            if name.starts_with(PREFIX) {
                shapes.insert(current.clone(), (kind.to_owned(), BTreeSet::new()));
            }
        } else if let (Some((_, labels)), false) = (shapes.get_mut(&current), line.starts_with('#'))
        {
            let inside = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}'));
            let pairs = inside.into_iter().flat_map(|(inside, _)| inside.split("\","));
            let names = pairs.filter_map(|pair| pair.split_once('=')).map(|(name, _)| name);
            labels.extend(names.filter(|name| *name != "le").map(str::to_owned));
        }
    }
    shapes
}

#[tokio::test]
async fn metrics_are_those_of_the_document() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let operator = Operator::start(&ns, &[]).await?;
            let (documented, shown) = (documented(), shown(&operator.get("/metrics").await?));
            for (name, shape) in &shown {
                let said = documented.get(name);
                ensure!(said == Some(shape), "{name}: documented {said:?}, shown {shape:?}");
            }
            let hidden: Vec<_> =
                documented.keys().filter(|name| !shown.contains_key(*name)).collect();
            ensure!(hidden.is_empty(), "documented and not shown: {hidden:?}");
            Ok(())
        })
        .await
}
