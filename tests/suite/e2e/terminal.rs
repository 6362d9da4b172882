//! The full screen of `watch` on a real terminal.

use super::{SOON, one};
use anyhow::Context as _;
use std::process::Stdio;
use tests::{ADMIN, CommandLine, Node, Program};

/// Runs a command on a terminal that python's `pty` module owns, and takes the terminal away when `watch` has drawn.
const ON_A_TERMINAL: &str = r#"
import fcntl, os, pty, select, struct, sys, termios, time
pid, master = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
seen = b''
end = time.monotonic() + 20
while b'alpha' not in seen and time.monotonic() < end:
    if select.select([master], [], [], 0.1)[0]:
        seen += os.read(master, 65536)
os.close(master)
print('drawn' if b'alpha' in seen else f'drawn: {seen[-300:]}', flush=True)
end = time.monotonic() + 10
while time.monotonic() < end:
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        print('ended', flush=True)
        sys.exit(0)
    time.sleep(0.05)
os.kill(pid, 9)
os.waitpid(pid, 0)
print('still running', flush=True)
"#;

#[tokio::test]
async fn a_watch_whose_terminal_is_pulled_away_ends() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let user = CommandLine::new(host.address())?;
    let file = user.home().join("password");
    std::fs::write(&file, tests::ADMIN_PASSWORD)?;
    let login = user.run(&["login", "--username", ADMIN, "--password-file", &file.to_string_lossy()]).await?;
    assert_eq!(login.code, 0, "{login:?}");
    // The hang-up signal is ignored, as under nohup: the terminal's end has to be enough.
    let watch = user.command(&["watch"])?;
    let binary = watch.as_std().get_program().to_owned();
    let home: Vec<_> =
        watch.as_std().get_envs().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect();
    let output = tokio::process::Command::new("sh")
        .args(["-c", "trap '' HUP; exec python3 -c \"$0\" \"$@\"", ON_A_TERMINAL])
        .arg(binary)
        .arg("watch")
        .envs(home)
        .env("TERM", "xterm-256color")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(3 * SOON, output).await.context("no end")??;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "drawn\nended\n", "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
