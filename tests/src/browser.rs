//! A headless Chromium and one page in it, driven over the DevTools protocol.
//!
//! It clicks and types as a person does, waits for what the page shows, and collects what the
//! page's console complains of. The program is the one on the PATH that
//! `scripts/install-tools chromium` installs.

mod devtools;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::devtools::DevTools;
use crate::cluster::within;

/// Names of the program, the smallest first.
const PROGRAMS: [&str; 3] = ["chromium-headless-shell", "chromium", "google-chrome"];
/// A browser on a busy machine needs some seconds to start.
const START: Duration = Duration::from_secs(60);
/// Between two looks of the page at a condition, in milliseconds.
const LOOK_MS: u32 = 20;

/// A running browser. Dropping it kills it, with all its processes: the program on the PATH is
/// a script, and the browser its child, so they are one process group.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    // After the child, which writes into it, has gone.
    _profile: TempDir,
    url: String,
}

impl Browser {
    /// Starts it, with a profile of its own.
    ///
    /// # Errors
    /// It is not installed, or does not start in time.
    pub async fn start() -> anyhow::Result<Self> {
        let profile = TempDir::with_prefix("wardlink-browser-")?;
        let mut child = PROGRAMS
            .iter()
            .find_map(|program| spawn(program, profile.path()).ok())
            .context("no Chromium on the PATH: run `scripts/install-tools chromium` first")?;
        let stderr = child.stderr.take().context("no stderr")?;
        let mut browser = Self { child, _profile: profile, url: String::new() };
        let said = tokio::task::spawn_blocking(move || address(BufReader::new(stderr)));
        browser.url = within(START, "the browser listens", said).await???;
        Ok(browser)
    }

    /// Opens a page of this size; it is loaded, its scripts may not have run to their end.
    ///
    /// # Errors
    /// The browser does not do it.
    pub async fn open(&self, url: &str, width: u32, height: u32) -> anyhow::Result<Page> {
        let devtools = DevTools::connect(&self.url).await?;
        let mut page = Page { devtools };
        for domain in ["Page", "Runtime", "Log", "Accessibility"] {
            page.devtools.call(&format!("{domain}.enable"), json!({})).await?;
        }
        page.resize(width, height).await?;
        page.devtools.call("Page.navigate", json!({ "url": url })).await?;
        page.until("document.readyState === 'complete'").await?;
        Ok(page)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself. Until `wait` its id is not given to another.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

fn spawn(program: &str, profile: &Path) -> std::io::Result<Child> {
    Command::new(program)
        .args(["--headless", "--remote-debugging-port=0", "--no-first-run", "--disable-gpu"])
        // The sandbox needs rights that a container's root has not; the pages are the tests' own.
        .args(["--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg("about:blank")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
}

/// Reads what the browser says until it names its address; what it says later goes nowhere, in a
/// thread that ends with it.
fn address(mut stderr: impl BufRead + Send + 'static) -> anyhow::Result<String> {
    let mut line = String::new();
    while stderr.read_line(&mut line)? > 0 {
        if let Some(url) = line.strip_prefix("DevTools listening on ") {
            let url = url.trim().to_owned();
            std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
            return Ok(url);
        }
        line.clear();
    }
    bail!("the browser has ended")
}

/// One page.
#[derive(Debug)]
pub struct Page {
    devtools: DevTools,
}

impl Page {
    /// What a JavaScript expression is, or what its promise becomes.
    ///
    /// # Errors
    /// It throws.
    pub async fn value(&mut self, expression: &str) -> anyhow::Result<Value> {
        let what = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.devtools.call("Runtime.evaluate", what).await?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            bail!("{expression}: {thrown}");
        }
        Ok(answer["result"]["value"].take())
    }

    /// Waits until an expression is true.
    ///
    /// # Errors
    /// Not in time; the text holds what the page shows.
    pub async fn until(&mut self, condition: &str) -> anyhow::Result<()> {
        let look = format!(
            "new Promise((done) => {{ const look = () => (({condition}) ? done(true) : \
             setTimeout(look, {LOOK_MS})); look(); }})"
        );
        let Err(error) = self.value(&look).await else { return Ok(()) };
        let error = error.context(format!("waiting for {condition}"));
        let shown = self.value("document.body.innerText").await.unwrap_or_default();
        let shown = shown.as_str().unwrap_or_default();
        let last = self.problems().last();
        Err(error.context(format!("the page shows:\n{shown}\nlast problem: {last:?}")))
    }

    /// Clicks into the middle of what a selector finds first.
    ///
    /// # Errors
    /// It is not there within the deadline, or something lies over it.
    pub async fn click(&mut self, selector: &str) -> anyhow::Result<()> {
        let found = format!("document.querySelector({})", json!(selector));
        self.until(&format!("{found} && !{found}.disabled")).await?;
        let place = self
            .value(&format!(
                "(() => {{ const it = {found}; it.scrollIntoView({{ block: 'nearest' }}); \
                 const box = it.getBoundingClientRect(); \
                 const [x, y] = [box.x + box.width / 2, box.y + box.height / 2]; \
                 const top = document.elementFromPoint(x, y); \
                 return {{ x, y, hit: it.contains(top) || !!top?.closest('label')?.contains(it) }}; \
                 }})()"
            ))
            .await?;
        ensure!(place["hit"] == true, "something lies over {selector}: {place}");
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": place["x"], "y": place["y"], "button": "left",
                "clickCount": 1 });
            self.devtools.call("Input.dispatchMouseEvent", event).await?;
        }
        Ok(())
    }

    /// Writes into a field, in place of what is there.
    ///
    /// # Errors
    /// The field is not there within the deadline.
    pub async fn write(&mut self, selector: &str, text: &str) -> anyhow::Result<()> {
        let found = format!("document.querySelector({})", json!(selector));
        self.until(&format!("{found} && !{found}.disabled")).await?;
        self.value(&format!("({found}.focus(), {found}.select())")).await?;
        self.devtools.call("Input.insertText", json!({ "text": text })).await?;
        Ok(())
    }

    /// Presses a key where the focus is: `Enter`, `Tab` or a space.
    ///
    /// # Errors
    /// The browser does not do it.
    pub async fn press(&mut self, key: &str) -> anyhow::Result<()> {
        let (code, number, text) = match key {
            "Enter" => ("Enter", 13, "\r"),
            "Tab" => ("Tab", 9, ""),
            " " => ("Space", 32, " "),
            other => bail!("no such key: {other}"),
        };
        let down = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
        for kind in [down, "keyUp"] {
            let event = json!({ "type": kind, "key": key, "code": code, "text": text,
                "windowsVirtualKeyCode": number });
            self.devtools.call("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// Gives the page another size.
    ///
    /// # Errors
    /// The browser does not do it.
    pub async fn resize(&mut self, width: u32, height: u32) -> anyhow::Result<()> {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools.call("Emulation.setDeviceMetricsOverride", size).await.map(drop)
    }

    /// What people prefer, `dark` or `light`.
    ///
    /// # Errors
    /// The browser does not do it.
    pub async fn prefer(&mut self, scheme: &str) -> anyhow::Result<()> {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" }] });
        self.devtools.call("Emulation.setEmulatedMedia", media).await.map(drop)
    }

    /// Writes what the page looks like, all of its length, as PNG.
    ///
    /// # Errors
    /// The browser does not do it, or the file cannot be written.
    pub async fn screenshot(&mut self, file: &Path) -> anyhow::Result<()> {
        let size = self.devtools.call("Page.getLayoutMetrics", json!({})).await?;
        let size = &size["cssContentSize"];
        let how = json!({ "format": "png", "captureBeyondViewport": true, "clip": { "x": 0,
            "y": 0, "width": size["width"], "height": size["height"], "scale": 1 } });
        let mut answer = self.devtools.call("Page.captureScreenshot", how).await?;
        let data = answer["data"].take();
        let png = BASE64_STANDARD.decode(data.as_str().context("no picture")?)?;
        std::fs::write(file, png).with_context(|| format!("writing {}", file.display()))
    }

    /// Role and name of all controls, as a screen reader has them.
    ///
    /// # Errors
    /// The browser does not do it.
    pub async fn controls(&mut self) -> anyhow::Result<Vec<(String, String)>> {
        let tree = self.devtools.call("Accessibility.getFullAXTree", json!({})).await?;
        let nodes = tree["nodes"].as_array().context("no tree")?;
        let roles = ["button", "textbox", "combobox", "switch", "checkbox", "link"];
        let text = |node: &Value, field: &str| {
            node[field]["value"].as_str().unwrap_or_default().to_owned()
        };
        let all = nodes.iter().filter(|node| node["ignored"] != true);
        let all = all.map(|node| (text(node, "role"), text(node, "name")));
        Ok(all.filter(|(role, _)| roles.contains(&role.as_str())).collect())
    }

    /// What the console has complained of so far: errors and warnings of scripts, of the network
    /// and of the content security policy.
    pub fn problems(&self) -> &[String] {
        self.devtools.problems()
    }
}
