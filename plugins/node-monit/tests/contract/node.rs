use node_monit::Monit;
use plugin_sdk::adapter::{Operation, Outcome, Process, ProcessId, ProcessState};
use plugin_sdk::{Exchange, Failure, NodeAdapter, Request, Response};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::park_timeout;
use std::time::Duration;
use tempfile::TempDir;

/// Looks, 20 ms apart, before a wait is given up: 30 s.
const LOOKS_MAX: usize = 1500;

const PASSWORD: &str = "canary-contract";

/// A running monit.
pub(crate) struct Node {
    folder: TempDir,
    child: Child,
}

/// A service, to be started by hand unless `starts` says otherwise.
pub(crate) struct Service {
    name: &'static str,
    lines: String,
    start: &'static str,
    stop: &'static str,
}

impl Service {
    /// A program that runs until it is told to end.
    pub(crate) fn waiting(name: &'static str) -> Self {
        Self { name, lines: "onreboot nostart\n".to_owned(), start: RUN, stop: KILL }
    }

    /// The same, started with its node.
    pub(crate) fn quiet(name: &'static str) -> Self {
        Self { lines: String::new(), ..Self::waiting(name) }
    }

    /// With a line more of its section.
    pub(crate) fn with(mut self, line: &str) -> Self {
        self.lines.push_str(line);
        self.lines.push('\n');
        self
    }

    /// Started by this script instead.
    pub(crate) fn start(self, start: &'static str) -> Self {
        Self { start, ..self }
    }

    /// Stopped by this script instead.
    pub(crate) fn stop(self, stop: &'static str) -> Self {
        Self { stop, ..self }
    }
}

/// Scripts, with `$1` as the beginning of the service's files.
const RUN: &str = "sh \"$1.run\" </dev/null >/dev/null 2>&1 &\necho $! > \"$1.pid\"";
const KILL: &str = "kill \"$(cat \"$1.pid\")\"";

impl Node {
    pub(crate) fn start(services: &[Service]) -> Self {
        Self::start_with(services, "")
    }

    /// `lines` are further ones of the control file.
    pub(crate) fn start_with(services: &[Service], lines: &str) -> Self {
        let executable = std::env::var_os("OMNIVISOR_MONIT").map_or_else(|| PathBuf::from("monit"), PathBuf::from);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().to_str().expect("a plain path");
        let mut control = format!(
            "set daemon 1\nset pidfile {path}/monit.pid\nset idfile {path}/monit.id\nset statefile {path}/monit.state\n\
             set httpd unixsocket {path}/monit.sock allow fleet:\"{PASSWORD}\" allow guest:\"{PASSWORD}\" read-only\n{lines}\n"
        );
        for (at, service) in services.iter().enumerate() {
            let base = format!("{path}/s{at}");
            fs::write(format!("{base}.run"), "while :; do sleep 1; done\n").expect("a script");
            fs::write(format!("{base}.start"), service.start).expect("a script");
            fs::write(format!("{base}.stop"), service.stop).expect("a script");
            control += &format!(
                "check process \"{}\" with pidfile {base}.pid\nstart program = \"/bin/sh {base}.start {base}\" with timeout 2 seconds\n\
                 stop program = \"/bin/sh {base}.stop {base}\" with timeout 5 seconds\n{}",
                service.name, service.lines
            );
        }
        let file = folder.path().join("control");
        // monit refuses a control file that others may read.
        let mut options = fs::OpenOptions::new();
        let mut opened = options.write(true).create_new(true).mode(0o600).open(&file).expect("the control file");
        opened.write_all(control.as_bytes()).expect("the control file");
        let child = Command::new(&executable)
            .arg("-I")
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|why| panic!("`{}` does not start: {why}; install monit 5.33", executable.display()));
        let node = Self { folder, child };
        wait_for("monit to answer", || Monit::observe_some(&mut node.link(), Vec::new()).ok());
        node
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("monit.sock")
    }

    pub(crate) fn link(&self) -> Link {
        self.link_as("fleet", PASSWORD)
    }

    pub(crate) fn guest(&self) -> Link {
        self.link_as("guest", PASSWORD)
    }

    pub(crate) fn link_as(&self, user: &'static str, password: &'static str) -> Link {
        Link { socket: self.socket(), user, password, requests: Vec::new(), path: None, without: None }
    }

    pub(crate) fn process(&self, id: &ProcessId) -> Process {
        let found = Monit::observe_some(&mut self.link(), vec![id.clone()]).expect("the process");
        found.into_iter().next().expect("the process exists")
    }

    pub(crate) fn run(&self, operation: Operation, id: &ProcessId) -> Result<Outcome, plugin_sdk::Fault> {
        Monit::run(&mut self.link(), operation, id.clone())
    }

    /// Sends an order past the adapter, as monit takes it.
    pub(crate) fn order(&self, name: &str, action: &str) {
        let headers = vec![("cookie".to_owned(), "securitytoken=x".to_owned())];
        let body = format!("securitytoken=x&action={action}&service={name}").into_bytes();
        let request = Request { method: "POST".to_owned(), path: "/_doaction".to_owned(), headers, body };
        assert_eq!(self.link().send(request).expect("a reply").status, 302);
    }

    pub(crate) fn wait_for_state(&self, id: &ProcessId, state: &ProcessState) -> Process {
        self.wait_until(&format!("{state:?}"), id, |process| process.state == *state)
    }

    pub(crate) fn wait_until(&self, what: &str, id: &ProcessId, is_so: impl Fn(&Process) -> bool) -> Process {
        let mut last = None;
        for _ in 0..LOOKS_MAX {
            let process = self.process(id);
            if is_so(&process) {
                return process;
            }
            last = Some(process);
            park_timeout(Duration::from_millis(20));
        }
        panic!("waited in vain for {id:?} to be {what}; it is {last:?}")
    }

    /// The number of the `at`-th service's process, as its own file has it.
    pub(crate) fn pid(&self, at: usize) -> u32 {
        let text = fs::read_to_string(self.folder.path().join(format!("s{at}.pid"))).expect("a pid file");
        text.trim().parse().expect("a number")
    }

    /// Everything that was started for this node and is alive. Their command lines name the folder.
    fn family(&self) -> Vec<u32> {
        let folder = self.folder.path().to_str().expect("a plain path").as_bytes();
        let pids = fs::read_dir("/proc").expect("/proc").flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                line.windows(folder.len()).any(|part| part == folder)
            })
            .collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // First, so that it starts nothing again.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for _ in 0..LOOKS_MAX {
            let family = self.family();
            if family.is_empty() {
                return;
            }
            family.into_iter().for_each(kill);
            park_timeout(Duration::from_millis(20));
        }
    }
}

pub(crate) fn kill(pid: u32) {
    // It may be gone by now.
    let _ = Command::new("/bin/kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
}

pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub(crate) fn id(group: &str, name: &str) -> ProcessId {
    ProcessId { group: group.to_owned(), name: name.to_owned() }
}

pub(crate) fn is_monitored(process: &Process) -> bool {
    process.extra.contains(&("monitored".to_owned(), "true".to_owned()))
}

/// Looks until there is something, with a limit.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS_MAX {
        if let Some(found) = look() {
            return found;
        }
        park_timeout(Duration::from_millis(20));
    }
    panic!("waited in vain for {what}");
}

/// A plain HTTP exchange over the node's socket. Remembers what was sent.
pub(crate) struct Link {
    socket: PathBuf,
    user: &'static str,
    password: &'static str,
    pub(crate) requests: Vec<Request>,
    /// Asked instead of the request's own path, to see how another page is understood.
    pub(crate) path: Option<&'static str>,
    /// A header that is left out.
    pub(crate) without: Option<&'static str>,
}

impl Exchange for Link {
    fn send(&mut self, mut request: Request) -> Result<Response, Failure> {
        self.requests.push(request.clone());
        request.headers.retain(|(name, _)| Some(name.as_str()) != self.without);
        request.path = self.path.map_or(request.path, str::to_owned);
        exchange(&self.socket, &request, self).map_err(|why| Failure::Unreachable(why.to_string()))
    }
}

/// monit answers in HTTP/1.0 and closes.
fn exchange(socket: &Path, request: &Request, link: &Link) -> io::Result<Response> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let pair = base64(format!("{}:{}", link.user, link.password).as_bytes());
    let mut head = format!(
        "{} {} HTTP/1.1\r\nhost: node\r\nauthorization: Basic {pair}\r\ncontent-length: {}\r\n",
        request.method,
        request.path,
        request.body.len()
    );
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    stream.write_all(&request.body)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    let end = reply.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(|| io::Error::other("no head"))?;
    let body = reply.split_off(end + 4);
    let head = String::from_utf8_lossy(&reply).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status in {head:?}")))?;
    Ok(Response { status, headers: Vec::new(), body })
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(*DIGITS.get((bits & 63) as usize).expect("six bits"));
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().chain([0, 0].iter()).take(3).fold(0, |bits, &byte| bits << 8 | u32::from(byte));
        for at in 0..4 {
            text.push(if at <= three.len() { digit(bits >> (18 - 6 * at)) } else { '=' });
        }
    }
    text
}
