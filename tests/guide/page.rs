//! A page's fenced blocks that are marked for the test: commands, what they print, and files.

/// One marked block, or several that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Block {
    /// Commands, and lines that stand in what they print, in this order.
    Run { line: usize, commands: String, shown: Vec<String>, way: Way },
    /// A file to be written.
    File { path: String, text: String },
}

/// How commands are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Once, to their end.
    Once,
    /// Again and again until they print what is shown: they only look.
    Until,
    /// Until the page ends; what is shown is waited for.
    Background,
}

/// The marked blocks of a page, in their order.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(mark) = line.strip_prefix("```") else { continue };
        let text: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        let way = match mark.split_once(' ').map(|(_, rest)| rest) {
            Some("run") => Way::Once,
            Some("run until") => Way::Until,
            Some("background") => Way::Background,
            Some("shown") => {
                let Some(Block::Run { shown, .. }) = blocks.last_mut() else {
                    panic!("line {}: nothing stands before what is shown", at + 1);
                };
                shown.extend(text.iter().filter(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned()));
                continue;
            }
            Some(rest) => {
                let path = rest.strip_prefix("file=").unwrap_or_else(|| panic!("line {}: the mark {mark:?}", at + 1));
                blocks.push(Block::File { path: path.to_owned(), text: format!("{}\n", text.join("\n")) });
                continue;
            }
            None => continue,
        };
        blocks.push(Block::Run { line: at + 1, commands: text.join("\n"), shown: Vec::new(), way });
    }
    blocks
}

/// The first of the lines shown that stands in no line of the output behind those of the ones before it. `...` in a
/// line stands for any characters.
pub(crate) fn missing<'a>(shown: &'a [String], output: &str) -> Option<&'a str> {
    let mut lines = output.lines();
    shown.iter().find(|shown| !lines.any(|line| stands_in(shown, line))).map(String::as_str)
}

fn stands_in(shown: &str, line: &str) -> bool {
    let mut rest = line;
    shown.split("...").map(str::trim).all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

#[test]
fn marked_blocks_are_read_and_others_left_out() {
    let page = "a\n```sh run\nx\ny\n```\n\n```text shown\n one\n\n```\n```\nnot this\n```\n```toml file=a/b\nk = 1\n```\n```sh background\nz\n```\n";
    let run = |line, commands: &str, shown: &[&str], way| Block::Run {
        line,
        commands: commands.to_owned(),
        shown: shown.iter().map(|&line| line.to_owned()).collect(),
        way,
    };
    let file = Block::File { path: "a/b".to_owned(), text: "k = 1\n".to_owned() };
    assert_eq!(blocks(page), [run(2, "x\ny", &["one"], Way::Once), file, run(17, "z", &[], Way::Background)]);
}

#[test]
fn what_is_shown_has_to_stand_in_the_output_in_its_order() {
    let shown = ["ok ... bytes".to_owned(), "done".to_owned()];
    assert_eq!(missing(&shown, "start\nok x: 12 bytes\nall done\n"), None);
    assert_eq!(missing(&shown, "done\nok x: 12 bytes\n"), Some("done"));
    assert_eq!(missing(&shown, "ok x: 12\n13 bytes\ndone\n"), Some("ok ... bytes"), "within one line");
}
