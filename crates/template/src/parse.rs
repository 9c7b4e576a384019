//! From text to tree: text, comments, directives and blocks. References and expressions are in `expression`.
//!
//! As in Velocity 1, `#set` takes the white space before it along, and each directive that is followed by nothing but
//! white space takes the rest of its line.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    Template,
    limits::{NESTING_MAX, TEMPLATE_BYTES_MAX},
    tree::{Block, Macro, Node},
};

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// It has more than [`TEMPLATE_BYTES_MAX`].
    #[error("a mapping template is limited to 300 KB")]
    TooLarge,
    /// Blocks or expressions stand inside each other too deeply.
    #[error("the mapping template is nested too deeply")]
    TooDeep,
    /// It cannot be read from a line on.
    #[error("the mapping template cannot be read: {what} at line {line}")]
    Syntax {
        /// What is wrong.
        what: &'static str,
        /// The line, from 1 on.
        line: usize,
    },
}

pub(crate) type Result<T> = std::result::Result<T, BadTemplate>;

pub(crate) fn parse(text: &str) -> Result<Template> {
    if text.len() > TEMPLATE_BYTES_MAX {
        return Err(BadTemplate::TooLarge);
    }
    let text = text.trim();
    let mut parser = Parser::new(text);
    let (body, end) = parser.block()?;
    if end != Ending::Text {
        return Err(parser.wrong("a directive that ends no block"));
    }
    Ok(Template { body, macros: parser.macros, defined: parser.defined })
}

/// The state of reading.
pub(crate) struct Parser<'t> {
    pub(crate) text: &'t str,
    pub(crate) at: usize,
    pub(crate) depth: usize,
    /// The names of macros that stand anywhere in the template.
    names: BTreeSet<String>,
    macros: BTreeMap<String, Macro>,
    defined: Vec<Block>,
}

/// What a block ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Text,
    End,
    Else,
    ElseIf,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            names: macro_names(text),
            macros: BTreeMap::new(),
            defined: Vec::new(),
        }
    }

    pub(crate) fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Takes a text, if it is what comes next.
    pub(crate) fn take(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    pub(crate) fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_ascii_start().len();
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().bytes().take_while(|byte| b" \t".contains(byte)).count();
    }

    /// Takes the rest of a line of which nothing but white space is left.
    fn skip_line(&mut self) {
        let before = self.at;
        self.skip_blanks();
        if !(self.take("\r\n") || self.take("\n") || self.take("\r")) {
            self.at = before;
        }
    }

    pub(crate) fn need(&mut self, text: &str, what: &'static str) -> Result<()> {
        self.skip_space();
        if self.take(text) { Ok(()) } else { Err(self.wrong(what)) }
    }

    pub(crate) fn wrong(&self, what: &'static str) -> BadTemplate {
        let before = &self.text.as_bytes()[..self.at.min(self.text.len())];
        BadTemplate::Syntax { what, line: 1 + before.iter().filter(|byte| **byte == b'\n').count() }
    }

    /// Reads something one level deeper.
    pub(crate) fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= NESTING_MAX {
            return Err(BadTemplate::TooDeep);
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// A word that may name something: letters, digits, `_` and, inside, `-`.
    pub(crate) fn word(&mut self) -> Option<&'t str> {
        let rest = self.rest();
        let first = *rest.as_bytes().first()?;
        if !(first.is_ascii_alphabetic() || first == b'_') {
            return None;
        }
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
        let word = &rest[..rest.bytes().take_while(legal).count()];
        // Velocity would take a hyphen at the end along, and then know no such name.
        let word = word.trim_end_matches('-');
        self.at += word.len();
        Some(word)
    }

    /// Reads until the text ends, or a directive ends the block.
    pub(crate) fn block(&mut self) -> Result<(Block, Ending)> {
        self.deeper(|parser| {
            let mut nodes = Nodes::default();
            loop {
                let rest = parser.rest();
                let Some(next) = rest.find(['$', '#', '\\']) else {
                    nodes.text(rest);
                    parser.at = parser.text.len();
                    return Ok((nodes.done(), Ending::Text));
                };
                nodes.text(&rest[..next]);
                parser.at += next;
                match parser.peek() {
                    Some(b'$') => parser.dollar(&mut nodes)?,
                    Some(b'#') => {
                        if let Some(end) = parser.hash(&mut nodes)? {
                            return Ok((nodes.done(), end));
                        }
                    }
                    _ => parser.backslashes(&mut nodes)?,
                }
            }
        })
    }

    fn dollar(&mut self, nodes: &mut Nodes) -> Result<()> {
        match self.reference()? {
            Some(reference) => nodes.push(Node::Reference(reference)),
            None => {
                nodes.text("$");
                self.at += 1;
            }
        }
        Ok(())
    }

    /// Backslashes before a reference or a directive: two are one, and one that is left escapes it.
    fn backslashes(&mut self, nodes: &mut Nodes) -> Result<()> {
        let start = self.at;
        let count = self.rest().bytes().take_while(|byte| *byte == b'\\').count();
        self.at += count;
        let written = &self.text[start..self.at];
        match self.peek() {
            Some(b'$') => {
                let before = self.at;
                match self.reference()? {
                    None => nodes.text(written),
                    Some(reference) if count % 2 == 1 => {
                        nodes.text(&written[..count / 2]);
                        nodes.push(Node::Escaped(reference));
                    }
                    Some(_) => {
                        nodes.text(&written[..count / 2]);
                        self.at = before;
                    }
                }
            }
            Some(b'#') => {
                let before = self.at;
                self.at += 1;
                let is_directive = self.directive_name().is_some_and(|name| self.is_known(name));
                let end = if is_directive { self.at } else { before };
                self.at = before;
                if !is_directive {
                    nodes.text(written);
                } else if count % 2 == 1 {
                    nodes.text(&written[..count / 2]);
                    nodes.text(&self.text[before..end]);
                    self.at = end;
                } else {
                    nodes.text(&written[..count / 2]);
                }
            }
            _ => nodes.text(written),
        }
        Ok(())
    }

    fn is_known(&self, name: &str) -> bool {
        const DIRECTIVES: [&str; 13] = [
            "set", "if", "elseif", "else", "end", "foreach", "break", "stop", "define", "macro",
            "parse", "include", "evaluate",
        ];
        DIRECTIVES.contains(&name) || self.names.contains(name)
    }

    /// The name of a directive, behind its `#`.
    fn directive_name(&mut self) -> Option<&'t str> {
        let before = self.at;
        let is_braced = self.take("{");
        let name = self.word();
        if name.is_none() || is_braced && !self.take("}") {
            self.at = before;
            return None;
        }
        name
    }

    /// What begins with `#`.
    fn hash(&mut self, nodes: &mut Nodes) -> Result<Option<Ending>> {
        let rest = self.rest();
        if rest.starts_with("##") {
            self.at += rest.find('\n').map_or(rest.len(), |at| at + 1);
            return Ok(None);
        }
        if let Some(comment) = rest.strip_prefix("#*") {
            self.at += comment.find("*#").map_or(rest.len(), |at| at + 4);
            return Ok(None);
        }
        if let Some(raw) = rest.strip_prefix("#[[") {
            let Some(end) = raw.find("]]#") else { return Err(self.wrong("#[[ without ]]#")) };
            nodes.text(&raw[..end]);
            self.at += end + 6;
            return Ok(None);
        }
        let before = self.at;
        self.at += 1;
        match self.directive_name() {
            Some(name) if self.is_known(name) => self.directive(name, nodes),
            _ => {
                nodes.text("#");
                self.at = before + 1;
                Ok(None)
            }
        }
    }

    fn directive(&mut self, name: &str, nodes: &mut Nodes) -> Result<Option<Ending>> {
        match name {
            "set" => {
                nodes.trim_blanks();
                let node = self.set()?;
                nodes.push(node);
            }
            "if" => {
                let node = self.condition()?;
                nodes.push(node);
            }
            "foreach" => {
                let node = self.foreach()?;
                nodes.push(node);
            }
            "define" => {
                let node = self.define()?;
                nodes.push(node);
            }
            "macro" => self.define_macro()?,
            "break" | "stop" => {
                self.skip_line();
                nodes.push(if name == "break" { Node::Break } else { Node::Stop });
            }
            "elseif" => return Ok(Some(Ending::ElseIf)),
            "else" | "end" => {
                self.skip_line();
                return Ok(Some(if name == "else" { Ending::Else } else { Ending::End }));
            }
            "parse" | "include" | "evaluate" => {
                return Err(self.wrong("a directive that API Gateway does not have"));
            }
            name => {
                let node = self.call(name)?;
                nodes.push(node);
            }
        }
        Ok(None)
    }

    /// `(`, behind a directive's name.
    fn open(&mut self) -> Result<()> {
        self.skip_blanks();
        self.need("(", "a directive without (")
    }

    /// `)`, and the rest of a line that has nothing else.
    fn close(&mut self) -> Result<()> {
        self.need(")", "a directive without )")?;
        self.skip_line();
        Ok(())
    }

    fn variable(&mut self) -> Result<Arc<str>> {
        self.skip_space();
        match self.reference()? {
            Some(reference) if reference.steps.is_empty() => Ok(reference.name),
            _ => Err(self.wrong("no name of a variable")),
        }
    }

    fn set(&mut self) -> Result<Node> {
        self.open()?;
        self.skip_space();
        let Some(target) = self.reference()? else {
            return Err(self.wrong("#set sets no reference"));
        };
        self.need("=", "#set without =")?;
        let value = self.expression()?;
        self.close()?;
        Ok(Node::Set { target, value })
    }

    fn condition(&mut self) -> Result<Node> {
        let (mut arms, mut otherwise) = (Vec::new(), Block::new());
        let mut end = Ending::ElseIf;
        while end == Ending::ElseIf {
            self.open()?;
            let condition = self.expression()?;
            self.close()?;
            let (body, found) = self.block()?;
            arms.push((condition, body));
            end = found;
        }
        if end == Ending::Else {
            (otherwise, end) = self.block()?;
        }
        match end {
            Ending::End => Ok(Node::If { arms, otherwise }),
            Ending::Text | Ending::Else | Ending::ElseIf => Err(self.wrong("#if without #end")),
        }
    }

    /// A block that only `#end` may end.
    fn body(&mut self) -> Result<Block> {
        match self.block()? {
            (body, Ending::End) => Ok(body),
            _ => Err(self.wrong("a block without #end")),
        }
    }

    fn foreach(&mut self) -> Result<Node> {
        self.open()?;
        let name = self.variable()?;
        self.need("in", "#foreach without in")?;
        let list = self.expression()?;
        self.close()?;
        Ok(Node::Foreach { name, list, body: self.body()? })
    }

    fn define(&mut self) -> Result<Node> {
        self.open()?;
        let name = self.variable()?;
        self.close()?;
        let body = self.body()?;
        self.defined.push(body);
        Ok(Node::Define { name, block: self.defined.len() - 1 })
    }

    fn define_macro(&mut self) -> Result<()> {
        self.open()?;
        self.skip_space();
        let Some(name) = self.word() else { return Err(self.wrong("a macro without a name")) };
        let parameters = self.listed(Self::variable)?;
        let body = self.body()?;
        self.macros.entry(name.to_owned()).or_insert(Macro { parameters, body });
        Ok(())
    }

    fn call(&mut self, name: &str) -> Result<Node> {
        self.open()?;
        let arguments = self.listed(Self::expression)?;
        Ok(Node::Call { name: name.to_owned(), arguments })
    }

    /// What stands up to the end of a bracket, with a comma or nothing between.
    fn listed<T>(&mut self, one: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut all = Vec::new();
        loop {
            self.skip_space();
            let _ = self.take(",");
            self.skip_space();
            if self.peek() == Some(b')') {
                self.close()?;
                return Ok(all);
            }
            all.push(one(self)?);
        }
    }

    /// The block of a text in double quotes.
    pub(crate) fn interpolated(&mut self, text: &str) -> Result<Block> {
        let mut inner = Parser {
            text,
            at: 0,
            depth: self.depth,
            names: std::mem::take(&mut self.names),
            macros: std::mem::take(&mut self.macros),
            defined: std::mem::take(&mut self.defined),
        };
        let read = inner.block();
        (self.names, self.macros, self.defined) = (inner.names, inner.macros, inner.defined);
        match read? {
            (block, Ending::Text) => Ok(block),
            _ => Err(self.wrong("a directive that ends no block")),
        }
    }
}

/// The names behind `#macro(`: a macro may be used before it is defined, and a name that is no macro's is text.
fn macro_names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, found) in text.match_indices("macro") {
        if !text[..at].ends_with(['#', '{']) {
            continue;
        }
        let rest = text[at + found.len()..].trim_start_matches(['}', ' ', '\t']);
        let Some(rest) = rest.strip_prefix('(') else { continue };
        let legal = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        let rest = rest.trim_start();
        names.insert(rest[..rest.find(|c| !legal(c)).unwrap_or(rest.len())].to_owned());
    }
    names
}

/// Nodes as they are collected; texts that follow each other are one.
#[derive(Default)]
struct Nodes {
    nodes: Block,
    text: String,
}

impl Nodes {
    fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn trim_blanks(&mut self) {
        self.text.truncate(self.text.trim_end_matches([' ', '\t']).len());
    }

    fn push(&mut self, node: Node) {
        self.flush();
        self.nodes.push(node);
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.nodes.push(Node::Text(std::mem::take(&mut self.text).into()));
        }
    }

    fn done(mut self) -> Block {
        self.flush();
        self.nodes
    }
}
