//! The playground page in a real browser, against real programs.

use std::path::PathBuf;

use anyhow::ensure;
use serde_json::json;
use wardlink_tests::browser::{Browser, Page};
use wardlink_tests::cluster::{Cluster, Plan, Store};
use wardlink_wire::EndId;

const NURSE: &str = "H1-W1-nurse";
const PUMP: &str = "H1-W2-pump";

/// Two Business Servers and one Message Server.
async fn cluster() -> anyhow::Result<Cluster> {
    Cluster::build(Store::Embedded, Plan { bs: 2, ..Plan::default() }).await
}

/// The page of the first server, once its two terminals are online.
async fn page(browser: &Browser, cluster: &Cluster) -> anyhow::Result<Page> {
    let mut page = browser.open(&cluster.bs(0).playground_url(), 1440, 900).await?;
    for letter in ["A", "B"] {
        page.until(&in_state(letter, "online")).await?;
    }
    Ok(page)
}

fn card(letter: &str) -> String {
    format!("[data-terminal={letter}]")
}

/// Whether something inside a terminal's card matches.
fn has(letter: &str, selector: &str) -> String {
    format!("document.querySelector('{} {selector}')", card(letter))
}

fn in_state(letter: &str, state: &str) -> String {
    format!("document.querySelector('{}[data-state={state}]')", card(letter))
}

/// Types a message and its target, and presses Enter.
async fn send(page: &mut Page, from: &str, to: &str, text: &str) -> anyhow::Result<()> {
    page.write(&format!("{} [data-field=to]", card(from)), to).await?;
    page.write(&format!("{} [data-field=body]", card(from)), text).await?;
    page.press("Enter").await
}

async fn click(page: &mut Page, letter: &str, selector: &str) -> anyhow::Result<()> {
    page.click(&format!("{} {selector}", card(letter))).await
}

/// Waits for an entry of a card with this text and this selector's properties.
async fn entry(page: &mut Page, letter: &str, selector: &str, text: &str) -> anyhow::Result<()> {
    let all = format!("[...document.querySelectorAll('{} .entry{selector}')]", card(letter));
    let body = json!(text);
    page.until(&format!("{all}.some((e) => e.querySelector('.body').textContent === {body})")).await
}

fn no_problems(page: &Page) -> anyhow::Result<()> {
    ensure!(page.problems().is_empty(), "the console complains: {:#?}", page.problems());
    Ok(())
}

/// Pictures for people, in the target folder.
fn picture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("playground-{name}.png"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_terminals_on_different_servers_send_go_away_and_come_back() -> anyhow::Result<()> {
    let cluster = cluster().await?;
    let browser = Browser::start().await?;
    let mut page = page(&browser, &cluster).await?;

    let servers = "[...document.querySelectorAll('[data-field=server]')].map((s) => s.value)";
    ensure!(page.value(servers).await? == json!(cluster.urls()), "each is on its own server");

    // From one server to the other, there and back.
    send(&mut page, "A", PUMP, "Pause the infusion").await?;
    entry(&mut page, "A", ".sent[data-outcome=delivered]", "Pause the infusion").await?;
    entry(&mut page, "B", ".got[data-acked=true]", "Pause the infusion").await?;
    send(&mut page, "B", NURSE, r#"{"paused":true,"pump":3}"#).await?;
    entry(&mut page, "B", ".sent[data-outcome=delivered]", r#"{"paused":true,"pump":3}"#).await?;
    for (letter, kind) in [("A", "sent"), ("A", "got"), ("B", "sent"), ("B", "got")] {
        let took =
            page.value(&format!("{}.textContent", has(letter, &format!(".{kind} .took")))).await?;
        let took = took.as_str().unwrap_or_default();
        ensure!(took.ends_with(" ms") || took.ends_with(" s"), "{letter}, {kind}: {took}");
    }

    // To one who is away, and comes back.
    click(&mut page, "B", "[data-action=toggle]").await?;
    page.until(&in_state("B", "offline")).await?;
    send(&mut page, "A", PUMP, "Please call ward 1").await?;
    entry(&mut page, "A", ".sent[data-outcome=stored]", "Please call ward 1").await?;
    click(&mut page, "B", "[data-action=toggle]").await?;
    entry(&mut page, "B", ".got[data-acked=true]", "Please call ward 1").await?;

    // Shown, not acknowledged, and the line breaks: it comes again, and is shown once.
    click(&mut page, "B", "[data-field=auto]").await?;
    send(&mut page, "A", PUMP, "Alarm in room 12").await?;
    entry(&mut page, "B", ".got[data-acked=false][data-redelivered=false]", "Alarm in room 12")
        .await?;
    entry(&mut page, "A", ".sent[data-outcome=open]", "Alarm in room 12").await?;
    click(&mut page, "B", "[data-action=cut]").await?;
    page.until(&in_state("B", "waiting")).await?;
    entry(&mut page, "A", ".sent[data-outcome=stored]", "Alarm in room 12").await?;
    page.until(&in_state("B", "online")).await?;
    entry(&mut page, "B", ".got[data-acked=false][data-redelivered=true]", "Alarm in room 12")
        .await?;
    let badge = page.value(&format!("{}.textContent", has("B", ".outcome.again"))).await?;
    ensure!(badge == "redelivered", "{badge}");
    let shown = format!("document.querySelectorAll('{} .got').length", card("B"));
    ensure!(page.value(&shown).await? == 3, "the repeat is not shown as another message");
    for (scheme, width, name) in
        [("light", 1440, "light"), ("dark", 1440, "dark"), ("light", 390, "narrow")]
    {
        page.prefer(scheme).await?;
        page.resize(width, 900).await?;
        let fits = "document.documentElement.scrollWidth <= innerWidth";
        page.until(fits).await?;
        page.screenshot(&picture(name)).await?;
    }
    page.resize(1440, 900).await?;
    click(&mut page, "B", ".entry [type=button]").await?;
    entry(&mut page, "B", ".got[data-acked=true]", "Alarm in room 12").await?;
    no_problems(&page)?;
    cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_the_servers_and_who_owns_whom() -> anyhow::Result<()> {
    let cluster = cluster().await?;
    let browser = Browser::start().await?;
    let mut page = page(&browser, &cluster).await?;

    let sessions = "[...document.querySelectorAll('#bs .detail')].map((d) => d.textContent).join()";
    page.until(&format!("{sessions} === '1 session,1 session'")).await?;
    page.until("document.querySelectorAll('#bs .tag:not([hidden])').length === 1").await?;
    page.until("document.querySelector('#ms .detail')?.textContent === '256 of 256'").await?;
    page.until("document.querySelector('#ms .id').textContent === '2 links · heard just now'")
        .await?;
    let view = cluster.ms(0).view().await.unwrap_or_default();
    let number = json!(format!("View {}", view["number"].as_str().unwrap_or_default()));
    page.until(&format!("document.querySelector('#view').textContent === {number}")).await?;

    page.until("document.querySelectorAll('#map .cell.m0').length === 256").await?;
    for (end, letter) in [(NURSE, "A"), (PUMP, "B")] {
        let partition = end.parse::<EndId>()?.partition().0;
        let marked = format!("document.querySelectorAll('#map .cell')[{partition}]");
        page.until(&format!("{marked}.textContent === '{letter}'")).await?;
    }
    let owners = "[...document.querySelectorAll('#owners li')].map((o) => o.innerText)";
    let owner = view["me"].as_str().unwrap_or_default();
    let shown = page.value(owners).await?;
    let all = shown.as_array().cloned().unwrap_or_default();
    ensure!(all.len() == 2, "{shown}");
    let short = &owner[..8.min(owner.len())];
    ensure!(all.iter().all(|line| line.as_str().unwrap_or_default().contains(short)), "{shown}");

    // A terminal more, and one less.
    page.click("#add").await?;
    page.until(&in_state("C", "online")).await?;
    page.until(&format!("{sessions} === '2 sessions,1 session'")).await?;
    click(&mut page, "C", "[data-action=remove]").await?;
    page.until("document.querySelectorAll('.card').length === 2").await?;
    page.until(&format!("{sessions} === '1 session,1 session'")).await?;
    no_problems(&page)?;
    cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keyboard_and_a_screen_reader_are_enough() -> anyhow::Result<()> {
    let cluster = cluster().await?;
    let browser = Browser::start().await?;
    let mut page = page(&browser, &cluster).await?;

    let controls = page.controls().await?;
    ensure!(controls.len() > 20, "{controls:?}");
    for (role, name) in &controls {
        ensure!(!name.is_empty(), "a {role} has no name: {controls:?}");
    }
    // From field to field by Tab: all of a card is reached, and the ring is seen.
    page.value(&format!("{}.focus()", has("A", "[data-field=end]"))).await?;
    let mut reached = Vec::new();
    let focus = "(() => { const { dataset, type, tagName } = document.activeElement; \
                 return dataset.field ?? dataset.action ?? type ?? tagName; })()";
    while reached.last().is_none_or(|last| last != "burst") && reached.len() < 30 {
        page.press("Tab").await?;
        reached.push(page.value(focus).await?.as_str().unwrap_or_default().to_owned());
        let ring = "getComputedStyle(document.activeElement.matches('[role=switch]') ? \
                    document.activeElement.nextElementSibling : document.activeElement).outlineStyle";
        ensure!(page.value(ring).await? == "solid", "no ring at {reached:?}");
    }
    for wanted in ["server", "remove", "toggle", "cut", "auto", "log", "to", "body", "submit"] {
        ensure!(
            reached.iter().any(|name| name == wanted),
            "Tab does not reach {wanted}: {reached:?}"
        );
    }
    page.press(" ").await?;
    page.until(&format!(
        "document.querySelectorAll('{} .sent[data-outcome=delivered]').length === 10",
        card("A")
    ))
    .await?;
    // What became of it is said, too.
    let said = page.value(&format!("{}.textContent", has("A", "[data-field=say]"))).await?;
    ensure!(said == format!("Message to {PUMP}: delivered"), "{said}");
    no_problems(&page)?;
    cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_of_the_page_finds_back_after_its_server_was_killed() -> anyhow::Result<()> {
    let mut cluster = cluster().await?;
    let browser = Browser::start().await?;
    let mut page = page(&browser, &cluster).await?;

    cluster.bs_mut(1).kill();
    page.until(&in_state("B", "waiting")).await?;
    page.until("document.querySelectorAll('#bs li.down').length === 1").await?;
    // What is sent meanwhile goes out when there is a connection.
    send(&mut page, "B", NURSE, "I was away").await?;
    entry(&mut page, "B", ".sent[data-outcome=open]", "I was away").await?;
    cluster.bs_mut(1).start().await?;
    page.until(&in_state("B", "online")).await?;
    entry(&mut page, "B", ".sent[data-outcome=delivered]", "I was away").await?;
    entry(&mut page, "A", ".got[data-acked=true]", "I was away").await?;
    let others: Vec<&String> = page
        .problems()
        .iter()
        .filter(|problem| !problem.contains("ERR_CONNECTION_REFUSED"))
        .filter(|problem| !problem.contains("ERR_CONNECTION_RESET"))
        .collect();
    ensure!(others.is_empty(), "{others:#?}");
    cluster.end().await
}

/// The other tests rely on it that a page which does such a thing is complained of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_foreign_or_inline_is_forbidden_and_seen_by_these_tests() -> anyhow::Result<()> {
    let cluster = cluster().await?;
    let browser = Browser::start().await?;
    for attempt in [
        "document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.1:9/x.png' }))",
        "document.body.setAttribute('onclick', 'alert(1)')",
        "document.body.innerHTML = '<b>markup</b>'",
        "fetch('http://192.0.2.1/').catch(() => 0)",
        "new WebSocket('ws://192.0.2.1/ws')",
    ] {
        let mut page = page(&browser, &cluster).await?;
        let violated = "new Promise((done) => addEventListener('securitypolicyviolation', done))";
        page.value(&format!(
            "window.violated = {violated}.then(() => true); \
             try {{ {attempt} }} catch {{ }} 0"
        ))
        .await?;
        ensure!(page.value("window.violated").await? == true, "{attempt} is allowed");
        let seen = page.problems().iter().any(|p| p.contains("\"security\""));
        ensure!(seen, "{attempt} went unnoticed: {:?}", page.problems());
    }
    cluster.end().await
}
