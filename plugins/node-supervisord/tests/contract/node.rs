use node_supervisord::Supervisord;
use plugin_sdk::adapter::{Operation, Outcome, Process, ProcessId, ProcessState};
use plugin_sdk::{Exchange, Failure, NodeAdapter, Request, Response};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::park_timeout;
use std::time::Duration;
use tempfile::TempDir;

/// Looks, 20 ms apart, before a wait is given up: 20 s.
const LOOKS_MAX: usize = 1000;

/// A running supervisord.
pub(crate) struct Node {
    folder: TempDir,
    child: Child,
}

/// The programs of every node. None starts by itself; logs are files that a test writes.
const PROGRAMS: &str = r#"
[program:cat]
command=/bin/cat
autostart=false

[program:web]
command=/bin/cat
numprocs=2
process_name=%(program_name)s_%(process_num)02d
autostart=false

[program:slow]
command=/bin/sh -c "trap '' TERM; echo ready; while :; do sleep 0.05; done"
startsecs=0
stopwaitsecs=1
stdout_logfile=%(here)s/slow.log
autostart=false

[program:crash]
command=/bin/sh -c "exit 3"
startretries=100
autostart=false

[program:gives-up]
command=/bin/sh -c "exit 3"
startretries=0
autostart=false

[program:ends]
command=/bin/sh -c "exit 3"
startsecs=0
autorestart=false
autostart=false

[program:missing]
command=/nowhere/at-all
autostart=false

[program:plain]
command=%(here)s/plain
autostart=false

[program:o<&>"d']
command=/bin/cat
autostart=false

[program:logs]
command=/bin/cat
autostart=false
stdout_logfile=%(here)s/out.log
stderr_logfile=%(here)s/err.log

[program:mute]
command=/bin/cat
autostart=false
stdout_logfile=NONE
stderr_logfile=NONE
"#;

impl Node {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// `access` is further lines of the server's section, e.g. a user name and a password.
    pub(crate) fn start_with(access: &str) -> Self {
        let executable = std::env::var_os("OMNIVISOR_SUPERVISORD").map(PathBuf::from).expect(
            "OMNIVISOR_SUPERVISORD must name the supervisord executable of supervisor 4.3.0, e.g. \
             `python3 -m venv venv && venv/bin/pip install supervisor==4.3.0` and venv/bin/supervisord",
        );
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().to_str().expect("a plain path");
        let config = format!(
            "[unix_http_server]\nfile={path}/rpc.sock\n{access}\n\
             [supervisord]\nlogfile={path}/main.log\npidfile={path}/pid\nchildlogdir={path}\nidentifier=contract\n\
             [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\
             {PROGRAMS}"
        );
        fs::write(folder.path().join("supervisord.conf"), config).expect("the configuration");
        fs::write(folder.path().join("plain"), "not a program\n").expect("a plain file");
        let child = Command::new(&executable)
            .arg("-n")
            .arg("-c")
            .arg(folder.path().join("supervisord.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|why| panic!("OMNIVISOR_SUPERVISORD `{}` does not start: {why}", executable.display()));
        let node = Self { folder, child };
        wait_for("supervisord to listen", || UnixStream::connect(node.socket()).ok());
        node
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("rpc.sock")
    }

    pub(crate) fn link(&self) -> Link {
        Link { socket: self.socket(), requests: Vec::new(), path: None }
    }

    pub(crate) fn process(&self, id: &ProcessId) -> Process {
        let found = Supervisord::observe_some(&mut self.link(), vec![id.clone()]).expect("the process");
        found.into_iter().next().expect("the process exists")
    }

    pub(crate) fn wait_for_state(&self, id: &ProcessId, state: &ProcessState) -> Process {
        wait_for(&format!("{id:?} to be {state:?}"), || {
            Some(self.process(id)).filter(|process| process.state == *state)
        })
    }

    /// Starts the program that ignores requests to stop, and waits until it does.
    pub(crate) fn start_slow(&self) -> ProcessId {
        let slow = id("slow", "slow");
        let outcome = Supervisord::run(&mut self.link(), Operation::Start, slow.clone());
        assert_eq!(outcome, Ok(Outcome::Accepted));
        self.wait_for_state(&slow, &ProcessState::Running);
        wait_for("it to be ready", || {
            Some(fs::read(self.folder().join("slow.log")).ok()?).filter(|log| log.ends_with(b"ready\n"))
        });
        slow
    }

    pub(crate) fn states(&self) -> Vec<(String, ProcessState)> {
        let snapshot = Supervisord::observe(&mut self.link()).expect("a snapshot");
        snapshot.processes.into_iter().map(|process| (process.id.name, process.state)).collect()
    }

    /// Asks the node to shut down, without waiting for it.
    pub(crate) fn shut_down(&self) {
        let body = "<?xml version='1.0'?><methodCall><methodName>supervisor.shutdown</methodName></methodCall>";
        // It may have ended already; then there is nobody to ask.
        let _ = self.link().send(post(body));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shut_down();
        // A supervisord that was asked ends its programs first; one that cannot be asked any more is ended here.
        let ended = (0..LOOKS_MAX).any(|_| {
            park_timeout(Duration::from_millis(20));
            !matches!(self.child.try_wait(), Ok(None))
        });
        if !ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

pub(crate) fn post(body: &str) -> Request {
    let headers = vec![("content-type".to_owned(), "text/xml".to_owned())];
    Request { method: "POST".to_owned(), path: "/RPC2".to_owned(), headers, body: body.as_bytes().to_vec() }
}

pub(crate) fn id(group: &str, name: &str) -> ProcessId {
    ProcessId { group: group.to_owned(), name: name.to_owned() }
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
    pub(crate) requests: Vec<Request>,
    /// Asked instead of the request's own path, to see how another page is understood.
    pub(crate) path: Option<&'static str>,
}

impl Exchange for Link {
    fn send(&mut self, request: Request) -> Result<Response, Failure> {
        self.requests.push(request.clone());
        let path = self.path.unwrap_or(&request.path);
        exchange(&self.socket, &request, path).map_err(|why| Failure::Unreachable(why.to_string()))
    }
}

fn exchange(socket: &Path, request: &Request, path: &str) -> io::Result<Response> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut head =
        format!("{} {path} HTTP/1.1\r\nhost: node\r\ncontent-length: {}\r\n", request.method, request.body.len());
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    stream.write_all(&request.body)?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status in {line:?}")))?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(Response { status, headers, body })
}
