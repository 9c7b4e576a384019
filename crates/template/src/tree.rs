//! What a template is once it was read.

use std::sync::Arc;

/// Nodes one after the other.
pub(crate) type Block = Vec<Node>;

/// A piece of a template.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Text(Arc<str>),
    Reference(Reference),
    /// `\$name`: the reference's text where it is defined, and with its backslash where it is not.
    Escaped(Reference),
    Set {
        target: Reference,
        value: Expression,
    },
    If {
        arms: Vec<(Expression, Block)>,
        otherwise: Block,
    },
    Foreach {
        name: Arc<str>,
        list: Expression,
        body: Block,
    },
    /// The number of its block.
    Define {
        name: Arc<str>,
        block: usize,
    },
    /// A macro of the template's own.
    Call {
        name: String,
        arguments: Vec<Expression>,
    },
    Break,
    Stop,
}

/// A macro.
#[derive(Debug, Clone, Default)]
pub(crate) struct Macro {
    pub(crate) parameters: Vec<Arc<str>>,
    pub(crate) body: Block,
}

/// `$name.member[index].method(argument)`.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    /// As it stands in the template.
    pub(crate) written: Arc<str>,
    /// `$!name`: nothing where there is nothing.
    pub(crate) is_quiet: bool,
    pub(crate) name: Arc<str>,
    pub(crate) steps: Vec<Step>,
}

/// One step of a reference.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Member(Arc<str>),
    Index(Expression),
    Method(Arc<str>, Vec<Expression>),
}

/// Something that has a value.
#[derive(Debug, Clone)]
pub(crate) enum Expression {
    Nothing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    /// A text in double quotes with references or directives.
    Interpolated(Block),
    Reference(Reference),
    List(Vec<Expression>),
    Range(Box<Expression>, Box<Expression>),
    Map(Vec<(Expression, Expression)>),
    Not(Box<Expression>),
    Negative(Box<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
}

/// What stands between two expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Times,
    Divide,
    Remainder,
}
