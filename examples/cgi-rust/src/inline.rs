//! What happens inside a line: `**strong**`, `*emphasis*`, `` `code` `` and `[text](https://...)`.

/// One line as HTML. Marks without a partner stay as they are.
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut rest = text;
    while !rest.is_empty() {
        if let Some((inner, tail)) = enclosed(rest, "`", "`") {
            wrap(&mut out, "code", &escape(inner));
            rest = tail;
        } else if let Some((inner, tail)) = enclosed(rest, "**", "**") {
            wrap(&mut out, "strong", &html(inner));
            rest = tail;
        } else if let Some((inner, tail)) = enclosed(rest, "*", "*") {
            wrap(&mut out, "em", &html(inner));
            rest = tail;
        } else if let Some((name, address, tail)) = link(rest) {
            out.push_str(&format!(
                "<a href=\"{}\">{}</a>",
                escape(address),
                html(name)
            ));
            rest = tail;
        } else {
            let next = rest.chars().next().expect("not empty").len_utf8();
            out.push_str(&escape(&rest[..next]));
            rest = &rest[next..];
        }
    }
    out
}

/// What lies between `open` at the start of `text` and the next `close`, and what comes after it.
fn enclosed<'t>(text: &'t str, open: &str, close: &str) -> Option<(&'t str, &'t str)> {
    let (inner, tail) = text.strip_prefix(open)?.split_once(close)?;
    (!inner.is_empty()).then_some((inner, tail))
}

/// `[name](address)` at the start of `text`. Only web addresses: a `javascript:` link would run.
fn link(text: &str) -> Option<(&str, &str, &str)> {
    let (name, tail) = enclosed(text, "[", "]")?;
    let (address, tail) = enclosed(tail, "(", ")")?;
    let is_web = address.starts_with("https://") || address.starts_with("http://");
    is_web.then_some((name, address, tail))
}

fn wrap(out: &mut String, tag: &str, inner: &str) {
    out.push_str(&format!("<{tag}>{inner}</{tag}>"));
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}
