//! A few of Markdown's rules as a CGI program (RFC 3875): headings, lists, paragraphs, emphasis, code
//! and links of the request body, as HTML. Every character of the text is escaped before it becomes
//! HTML, so a body from a stranger is as safe to show as one of your own.

use std::io::{self, BufRead as _, Write as _};

mod inline;

/// What the lines so far have opened and the next one may close.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    None,
    Paragraph,
    List,
}

fn main() -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    out.write_all(b"Content-Type: text/html; charset=utf-8\r\n\r\n")?;
    let mut block = Block::None;
    for line in io::stdin().lock().split(b'\n') {
        let line = line?;
        block = render_line(&mut out, block, String::from_utf8_lossy(&line).trim_end())?;
    }
    change_block(&mut out, block, Block::None)?;
    out.flush()
}

/// Writes one line; gives the block that is open after it.
fn render_line(out: &mut impl io::Write, open: Block, line: &str) -> io::Result<Block> {
    let level = line.bytes().take_while(|&byte| byte == b'#').count();
    if line.is_empty() {
        change_block(out, open, Block::None)
    } else if (1..=6).contains(&level) && line[level..].starts_with(' ') {
        let block = change_block(out, open, Block::None)?;
        writeln!(
            out,
            "<h{level}>{}</h{level}>",
            inline::html(line[level..].trim())
        )?;
        Ok(block)
    } else if let Some(item) = line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")) {
        let block = change_block(out, open, Block::List)?;
        writeln!(out, "<li>{}</li>", inline::html(item.trim()))?;
        Ok(block)
    } else {
        let block = change_block(out, open, Block::Paragraph)?;
        writeln!(out, "{}", inline::html(line))?;
        Ok(block)
    }
}

fn change_block(out: &mut impl io::Write, from: Block, to: Block) -> io::Result<Block> {
    if from != to {
        match from {
            Block::None => {}
            Block::Paragraph => writeln!(out, "</p>")?,
            Block::List => writeln!(out, "</ul>")?,
        }
        match to {
            Block::None => {}
            Block::Paragraph => writeln!(out, "<p>")?,
            Block::List => writeln!(out, "<ul>")?,
        }
    }
    Ok(to)
}
