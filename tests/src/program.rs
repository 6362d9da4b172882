use std::fmt::Write as _;
use std::path::Path;

/// A program of a node, as `[program:x]`.
#[derive(Debug, Clone)]
pub struct Program {
    name: String,
    command: String,
    lines: Vec<(String, String)>,
}

impl Program {
    /// A program that runs `command` and starts with its node.
    #[must_use]
    pub fn new(name: &str, command: &str) -> Self {
        Self { name: name.to_owned(), command: command.to_owned(), lines: Vec::new() }
    }

    /// A program that does nothing for a day.
    #[must_use]
    pub fn quiet(name: &str) -> Self {
        Self::new(name, "sleep 86400")
    }

    /// A program that runs a shell script kept in a file of its own, so that no quoting stands in between.
    #[must_use]
    pub fn script(name: &str, script: &str) -> Self {
        Self::new(name, "").with("script", script)
    }

    /// Several processes of one program, named `NAME_00` and on.
    #[must_use]
    pub fn processes(self, count: u32) -> Self {
        self.with("numprocs", &count.to_string()).with("process_name", "%(program_name)s_%(process_num)02d")
    }

    /// A process name that differs from the program's. A per cent sign is written as two.
    #[must_use]
    pub fn process_name(self, name: &str) -> Self {
        self.with("process_name", name)
    }

    /// Does not start with its node.
    #[must_use]
    pub fn waiting(self) -> Self {
        self.with("autostart", "false")
    }

    /// Any other line of its section.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.lines.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// A node to be started: who may enter, what runs there.
#[derive(Debug, Clone)]
pub struct Node {
    pub(crate) name: String,
    pub(crate) password: String,
    programs: Vec<Program>,
    groups: Vec<(String, String)>,
    daemon_lines: Vec<(String, String)>,
}

impl Node {
    /// The user that every node of the suites asks for.
    pub const USERNAME: &str = "fleet";

    /// A node without programs.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            password: format!("canary-node-{name}"),
            programs: Vec::new(),
            groups: Vec::new(),
            daemon_lines: Vec::new(),
        }
    }

    /// With one program more.
    #[must_use]
    pub fn program(mut self, program: Program) -> Self {
        self.programs.push(program);
        self
    }

    /// With a `[group:x]` over programs, which are separated by commas.
    #[must_use]
    pub fn group(mut self, name: &str, programs: &str) -> Self {
        self.groups.push((name.to_owned(), programs.to_owned()));
        self
    }

    /// With a line more in `[supervisord]`.
    #[must_use]
    pub fn daemon(mut self, key: &str, value: &str) -> Self {
        self.daemon_lines.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The configuration file's text. Scripts are given with the paths they have to be written to.
    pub(crate) fn render(&self, folder: &Path, port: u16) -> (String, Vec<(String, String)>) {
        let dir = folder.display();
        let mut text = format!(
            "[supervisord]\nidentifier={}\nnodaemon=true\nlogfile={dir}/supervisord.log\npidfile={dir}/supervisord.pid\n\
             childlogdir={dir}\nminfds=256\n",
            self.name
        );
        push_lines(&mut text, &self.daemon_lines);
        let _ = write!(
            text,
            "\n[inet_http_server]\nport=127.0.0.1:{port}\nusername={}\npassword={}\n\n[rpcinterface:supervisor]\n\
             supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n",
            Self::USERNAME,
            self.password
        );
        let mut scripts = Vec::new();
        for program in &self.programs {
            let mut lines = program.lines.clone();
            let script = lines.iter().position(|(key, _)| key == "script").map(|at| lines.remove(at).1);
            let command = match script {
                Some(script) => {
                    let path = format!("{dir}/{}.sh", program.name);
                    scripts.push((path.clone(), script));
                    format!("sh {path}")
                }
                None => program.command.clone(),
            };
            let _ = write!(text, "\n[program:{}]\ncommand={command}\n", program.name);
            push_lines(&mut text, &lines);
        }
        for (name, programs) in &self.groups {
            let _ = write!(text, "\n[group:{name}]\nprograms={programs}\n");
        }
        (text, scripts)
    }
}

fn push_lines(text: &mut String, lines: &[(String, String)]) {
    for (key, value) in lines {
        let _ = writeln!(text, "{key}={value}");
    }
}
