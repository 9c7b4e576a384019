//! Templates against what AWS was recorded to make of them, and against what would do harm.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{BadTemplate, Failed, Input, Overrides, Scope, Template, limits};

fn context() -> Map<String, Value> {
    let Value::Object(context) = json!({
        "requestId": "r-1",
        "stage": "dev",
        "resourcePath": "/a",
        "identity": {"sourceIp": "127.0.0.1"},
        "authorizer": {"principalId": "me", "claims": null},
    }) else {
        return Map::new();
    };
    context
}

fn attempt(template: &str, body: &str) -> Result<crate::Rendered, Failed> {
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let variables = BTreeMap::from([("url".to_owned(), "u".to_owned())]);
    let input = Input {
        body,
        path: pairs(&[("id", "7")]),
        querystring: pairs(&[("q", "x y"), ("id", "8")]),
        header: pairs(&[("X-Thing", "h")]),
    };
    let scope = Scope {
        input,
        context: context(),
        stage_variables: Some(&variables),
        overrides: Overrides::default(),
    };
    Template::parse(template).unwrap_or_else(|error| panic!("{template}: {error}")).render(&scope)
}

fn with(template: &str, body: &str) -> String {
    attempt(template, body).unwrap_or_else(|error| panic!("{template}: {error}")).text
}

fn make(template: &str) -> String {
    with(template, "")
}

#[test]
fn recorded_values_of_paths() {
    for (template, body, made) in [
        ("$R", r#"{"foo":"bar"}"#, "{foo=bar}"),
        ("$R", r#"[{"foo":"bar"}]"#, r#"[{"foo":"bar"}]"#),
        ("$R.nested", r#"{"nested":{"foo":"bar"}}"#, "{foo=bar}"),
        ("$R.nested", r#"{"nested":[{"foo":"bar"}]}"#, r#"[{"foo":"bar"}]"#),
        ("$R[0]", r#"[{"foo":"bar"}]"#, "{foo=bar}"),
        ("$R[0]", r#"[[{"foo":"bar"}]]"#, r#"[{"foo":"bar"}]"#),
        ("$R", r#"{"foo":[{"nested":"bar"}]}"#, r#"{foo=[{"nested":"bar"}]}"#),
        (
            "$R",
            r#"{"bigger":"dict","to":"test","with":"separators"}"#,
            "{bigger=dict, to=test, with=separators}",
        ),
        ("$R.toString()", r#"{"list":[{"foo":"bar"}]}"#, r#"{list=[{"foo":"bar"}]}"#),
    ] {
        let template = template.replace("$R", "$input.path(\"$.json\")");
        let body = format!("{{\"json\":{body}}}");
        assert_eq!(with(&template, &body), made, "{template} of {body}");
    }
}

#[test]
fn recorded_values_that_are_missing_or_empty() {
    let template = "#set($v = $input.path('$.v'))$v|$v.nested|#if($v == $null)true#{else}false#end|#if($v == \"\")true#{else}false#end";
    assert_eq!(with(template, "{}"), "||true|true");
    assert_eq!(with(template, r#"{"v":[]}"#), "[]||false|false");
    assert_eq!(with(template, r#"{"v":null}"#), "||true|true");
    assert_eq!(with(template, "no JSON"), "||true|true");
}

#[test]
fn recorded_bodies() {
    for (body, made, encoded) in [
        ("", "{}", "%7B%7D"),
        (r#"{"some": "value"}"#, r#"{"some": "value"}"#, "%7B%22some%22%3A+%22value%22%7D"),
        ("some raw data", "some raw data", "some+raw+data"),
    ] {
        assert_eq!(with("#set($r = $input.body)$r", body), made);
        assert_eq!(with("$util.urlEncode($input.body)", body), encoded);
        assert_eq!(with("#set($r = $input.body.testAccess)$r", body), "");
        assert_eq!(with("$util.urlEncode($input.body.testAccess)", body), "");
    }
    assert_eq!(
        make("Action=SendMessage&MessageBody=$input.body"),
        "Action=SendMessage&MessageBody={}"
    );
}

#[test]
fn recorded_overrides() {
    let template = r#"#set($n = "one")#set($k = "two")
#set($context.requestOverride.querystring[$n] = "bar")
$context.requestOverride.querystring.put($k,"v")
#set($context["requestOverride"].querystring["x"] = "y")
#if($context.resourcePath == "/a")#set($context.requestOverride.path.p = "b")#else#set($context.requestOverride.path.p = "c")#end
#set($context.requestOverride.header.list = ["1", "2"])
#set($context.responseOverride.header['H'] = 7)
#set($context.responseOverride.status = 444)
{"statusCode": 200}"#;
    let made = attempt(template, "").unwrap();
    assert_eq!(made.text.trim(), r#"{"statusCode": 200}"#);
    let one = |name: &str, value: &str| (name.to_owned(), vec![value.to_owned()]);
    assert_eq!(
        made.overrides,
        Overrides {
            request_header: BTreeMap::from([(
                "list".to_owned(),
                vec!["1".to_owned(), "2".to_owned()]
            )]),
            request_path: BTreeMap::from([one("p", "b")]),
            request_querystring: BTreeMap::from([
                one("one", "bar"),
                one("two", "v"),
                one("x", "y")
            ]),
            response_header: BTreeMap::from([one("H", "7")]),
            response_status: Some(444),
        }
    );
    // The response template sees them.
    let scope = Scope { overrides: made.overrides.clone(), ..Scope::default() };
    let later = Template::parse(
        "$context.requestOverride.querystring.one $context.requestOverride.path.p $context.requestOverride.header.list $context.responseOverride.status#set($context.responseOverride.status = 202)",
    );
    let later = later.unwrap().render(&scope).unwrap();
    assert_eq!(later.text, "bar b [1, 2] 444");
    assert_eq!(later.overrides.response_status, Some(202));
    assert_eq!(later.overrides.request_querystring, made.overrides.request_querystring);
    for (status, taken) in
        [("99", None), ("600", None), ("'200'", None), ("100", Some(100)), ("599", Some(599))]
    {
        let made = attempt(&format!("#set($context.responseOverride.status = {status})"), "");
        assert_eq!(made.unwrap().overrides.response_status, taken, "{status}");
    }
    let twice = "#set($context.requestOverride.header.a = '1')#set($context.requestOverride.header.a = '2')";
    assert_eq!(attempt(twice, ""), Err(Failed::OverriddenTwice("a".to_owned())));
}

#[test]
fn recorded_assignments_to_maps() {
    let template = "#set($m = {\"a\": \"x\"})#set($m.foo = 'bar')#set($d = $m.put('p', 'putBar'))#set($m[\"n\"] = {\"k\": {}})#set($m.n.k.z = 'nestedFoo')$m.foo/$m.p/$m.n.k.z";
    assert_eq!(make(template), "bar/putBar/nestedFoo");
    assert_eq!(make("#set($m = {})$m.put('a', 1)$m.put('a', 2)"), "1", "put prints what was there");
}

#[test]
fn input() {
    let body = r#"{"a": {"b": [1, 2.50, "x"]}, "s": "it's", "n": null}"#;
    for (template, made) in [
        ("$input.json('$.a')", r#"{"b":[1,2.5,"x"]}"#),
        ("$input.json('$.s')", "\"it's\""),
        ("$input.json('$.none')", "\"\""),
        ("$input.json('$')", r#"{"a":{"b":[1,2.5,"x"]},"s":"it's","n":null}"#),
        ("$input.path('$.a.b[2]')", "x"),
        ("$input.path('$.a.b').size()", "3"),
        ("$input.path('$').a.b[0]", "1"),
        ("$input.params('id')", "7"),
        ("$input.params('q')", "x y"),
        ("$input.params('x-thing')", "h"),
        ("[$input.params('none')]", "[]"),
        ("$input.params().path.id$input.params().querystring.get('id')", "78"),
        ("$input.params()", "{path={id=7}, querystring={q=x y, id=8}, header={X-Thing=h}}"),
        ("#foreach($k in $input.params().header.keySet())$k;#end", "X-Thing;"),
        ("$util.escapeJavaScript($input.json('$.s'))", "\\\"it\\'s\\\""),
        ("$util.escapeJavaScript($nothing)", "null"),
        ("$util.parseJson('{\"a\": [1]}').a[0]", "1"),
        ("$util.base64Decode($util.base64Encode('ä'))", "ä"),
        ("$util.urlDecode('a%20b')", "a b"),
        (
            "#if($input.params('none') == '')none#end#if($input.params('none').length() == 0)0#end",
            "none0",
        ),
    ] {
        assert_eq!(with(template, body), made, "{template}");
    }
}

#[test]
fn variables_of_the_request() {
    for (template, made) in [
        ("$context.requestId-$context.stage", "r-1-dev"),
        ("$context.identity.sourceIp", "127.0.0.1"),
        ("\"$context.identity\"\"$context.requestOverride\"", "\"\"\"\""),
        ("$context.authorizer.principalId$context.authorizer.claims", "me"),
        ("$context.nothing", ""),
        (
            "$stageVariables.url$stageVariables['url']${stageVariables['url']}${stageVariables.url}",
            "uuuu",
        ),
        ("$stageVariables.get('url')", "u"),
    ] {
        assert_eq!(make(template), made, "{template}");
    }
}

#[test]
fn references() {
    for (template, made) in [
        ("$foo $!foo ${foo} $!{foo} ${foo.bar} $foo.bar()", "$foo  ${foo}  ${foo.bar} $foo.bar()"),
        ("#set($a = 'x')$a ${a}b $!a. $a. $a.", "x xb x. x. x."),
        ("#set($a = 'x')\\$a \\\\$a \\$b \\\\\\$a", "$a \\x \\$b \\$a"),
        ("$ $$ $1 ${} ${ $! 5$", "$ $$ $1 ${} ${ $! 5$"),
        ("#set($a = 'x')$$a", "$x"),
        ("#set($a = {'b': [1, {'c': 'd'}]})$a.b[1].c$a.b[-1]$a['b'].size()", "d{c=d}2"),
        ("#set($a = [1])$a[x] $a[0", "[1][x] [1][0"),
        ("#set($a-b = 1)$a-b ${a-b}-", "1 1-"),
        ("#set($x = $nothing)[$x]", "[]"),
    ] {
        assert_eq!(make(template), made, "{template}");
    }
}

#[test]
fn conditions() {
    for (condition, holds) in [
        ("true", true),
        ("false", false),
        ("''", true),
        ("0", true),
        ("$none", false),
        ("!$none", true),
        ("not true", false),
        ("1 == 1.0", true),
        ("'1' == 1", true),
        ("'a' != 'b'", true),
        ("1 < 2 && 2 <= 2", true),
        ("1 > 2 || 3 >= 3", true),
        ("1 lt 2 and 2 gt 1", true),
        ("1 eq 2 or 1 ne 2", true),
        ("(1 == 2) || !(1 == 2)", true),
        ("'a' < 'b'", false),
        ("[1, 2] == [1, 2]", true),
        ("$none == ''", true),
        ("$none == $other", true),
        ("1 + 2 * 3 == 7", true),
        ("(1 + 2) * 3 == 9", true),
        ("7 / 2 == 3 && 7 % 2 == 1", true),
        ("7 / 0 == $none", true),
        ("-1 + 2 == 1", true),
        ("9223372036854775807 + 1 > 1", true),
    ] {
        let template = format!("#if ({condition})yes#{{else}}no#end");
        assert_eq!(make(&template), if holds { "yes" } else { "no" }, "{condition}");
    }
    let chain = "#if($x == 1)one#elseif($x == 2)two#elseif($x == 3)three#{else}many#end";
    for (x, made) in [("1", "one"), ("2", "two"), ("3", "three"), ("4", "many")] {
        assert_eq!(make(&format!("#set($x = {x}){chain}")), made);
    }
}

#[test]
fn loops() {
    for (template, made) in [
        ("#foreach($x in [1..3])$x#if($foreach.hasNext),#end#end", "1,2,3"),
        ("#foreach($x in [3..1])$x#end", "321"),
        (
            "#foreach($x in ['a','b'])$foreach.index$foreach.count$velocityCount$foreach.first$foreach.last #end",
            "011truefalse 122falsetrue ",
        ),
        ("#foreach($v in {'a': 1, 'b': 2})$v#end", "12"),
        (
            "#set($m = {'a': 1, 'b': 2})#foreach($e in $m.entrySet())$e.key$e.getValue();#end",
            "a1;b2;",
        ),
        ("#foreach($x in [1..9])#if($x == 3)#break#end$x#end.", "12."),
        ("#foreach($x in [1..9])#if($x == 3)#stop#end$x#end.", "12"),
        ("#set($x = 'kept')#foreach($x in [1])$x#end$x", "1kept"),
        (
            "#foreach($x in [1..2])#foreach($y in [1..2])$foreach.parent.count$foreach.count #end#end",
            "11 12 21 22 ",
        ),
        ("#foreach($x in 'text')$x#end#foreach($x in $none)$x#end.", "."),
    ] {
        assert_eq!(make(template), made, "{template}");
    }
    let long = make("#foreach($x in [1..2000]).#end");
    assert_eq!(long.len(), limits::LOOP_TURNS_MAX);
}

#[test]
fn macros_and_blocks() {
    for (template, made) in [
        ("#macro(pair $a $b)($a,$b)#end#pair(1 2)#pair('x', 'y')", "(1,2)(x,y)"),
        ("#late('z')#macro(late $a)<$a>#end", "<z>"),
        ("#set($a = 'outer')#macro(m $a)$a#end#m('inner')$a", "innerouter"),
        ("#define($block)[$x]#end#set($x = 1)$block#set($x = 2)$block", "[1][2]"),
        ("#unknown(1) #fff #1 # ##", "#unknown(1) #fff #1 # "),
        ("a## comment\nb#* many\nlines *#c#[[ $raw #if ]]#d", "abc $raw #if d"),
        ("\\#if #set ($x = 1)\\\\#set($y = 2)$y", "#if\\2"),
    ] {
        assert_eq!(make(template), made, "{template}");
    }
    assert_eq!(attempt("#macro(m)#m()#end#m()", ""), Err(Failed::TooDeep));
    assert_eq!(attempt("#define($d)$d#end$d", ""), Err(Failed::TooDeep));
}

#[test]
fn lines() {
    let template = "{\n  #set($x = 1)\n  #if($x == 1)\n  \"a\": $x\n  #else\n  \"b\"\n  #end\n}";
    assert_eq!(make(template), "{\n    \"a\": 1\n  }");
    assert_eq!(make("  \n x \n "), "x");
}

#[test]
fn texts() {
    for (expression, made) in [
        ("'a$x'", "a$x"),
        ("\"a$x\"", "a1"),
        ("\"say \"\"$x\"\"\"", "say \"1\""),
        ("'it''s'", "it's"),
        ("\"a\\nb\"", "a\\nb"),
        ("\"#if($x == 1)one#end\"", "one"),
        ("'a' + 1 + 'b'", "a1b"),
        ("1 + 1", "2"),
        ("1.5 * 2", "3.0"),
        ("-3", "-3"),
        ("[]", "[]"),
        ("[1, 'a', [2]]", "[1, a, [2]]"),
        ("{}", "{}"),
        ("{'a': 1, \"b\": {'c': $x}}", "{a=1, b={c=1}}"),
    ] {
        assert_eq!(make(&format!("#set($x = 1)#set($y = {expression})$y")), made, "{expression}");
    }
}

#[test]
fn methods() {
    for (call, made) in [
        ("$t.length()", "11"),
        ("$t.toUpperCase().substring(0, 5)", "HELLO"),
        ("$t.substring(6)", "World"),
        ("$t.indexOf('World') $t.indexOf('x') $t.lastIndexOf('o')", "6 -1 7"),
        ("$t.charAt(0)$t.contains('lo')$t.startsWith('He')$t.endsWith('x')", "Htruetruefalse"),
        ("$t.replace('l', 'L')", "HeLLo WorLd"),
        ("$t.replaceAll('([lo])+', '<$1>')", "He<o> W<o>r<l>d"),
        ("$t.replaceFirst('l', '')", "Helo World"),
        ("$t.matches('Hello') $t.matches('H.*d')", "false true"),
        ("$t.split(' ')[1] $t.split('o').size()", "World 3"),
        ("$t.concat('!').trim().equals('Hello World!')", "true"),
        ("$t.equalsIgnoreCase('HELLO WORLD')", "true"),
        ("$t.replaceAll(\"\\\\'\", \"'\")", "Hello World"),
        ("$l.size()$l.isEmpty()$l.get(0)$l.contains(2)$l.contains('2')", "2false1truetrue"),
        ("$l.add(3)$l", "true[1, 2, 3]"),
        ("$l.remove(0)$l", "1[2]"),
        ("$!l.set(1, 'x')$l", "2[1, x]"),
        (
            "$m.keySet() $m.values() $m.size() $m.containsKey('a') $m.containsKey('z') $m.get('b')",
            "[a, b] [1, 2] 2 true false 2",
        ),
        ("$m.remove('a')$m", "1{b=2}"),
        ("$m.getOrDefault('z', 9)$m.entrySet()", "9[a=1, b=2]"),
        ("$i.parseInt('42')$i.toString().length()", "421"),
        ("$t.getClass()$t.class$t.getClass().forName('java.lang.Runtime')", ""),
        ("$none.length()", "$none.length()"),
    ] {
        let set =
            "#set($t = 'Hello World')#set($l = [1, 2])#set($m = {'a': 1, 'b': 2})#set($i = 0)";
        assert_eq!(make(&format!("{set}{call}")), made, "{call}");
    }
}

#[test]
fn what_is_no_template() {
    for template in [
        "#if($x)",
        "#if",
        "#if(",
        "#if()#end",
        "#end",
        "#else",
        "#set($x)",
        "#set($x = )",
        "#set(x = 1)",
        "#foreach($x of $y)#end",
        "#foreach($x in $y)",
        "#set($x = 'a)",
        "#parse('x')",
        "#include('x')",
        "#evaluate('x')",
        "#[[ open",
        "#macro()#end",
        "#if(1 +)#end",
        "#set($x = {1 2})",
        "#set($x = [1 2])",
        "$x.y(",
        "#set($x = \"#end\")",
        "#if(true)#else#else#end",
    ] {
        assert!(matches!(Template::parse(template), Err(BadTemplate::Syntax { .. })), "{template}");
    }
    let line = Template::parse("a\nb\n#if(").unwrap_err().to_string();
    assert_eq!(line, "the mapping template cannot be read: no expression at line 3");
    assert_eq!(
        Template::parse(&"x".repeat(limits::TEMPLATE_BYTES_MAX + 1)).unwrap_err(),
        BadTemplate::TooLarge
    );
    for deep in ["#if(true)", "#set($x = (", "#set($x = [", "#set($x = !"] {
        assert!(Template::parse(&deep.repeat(10_000)).is_err(), "{deep}");
    }
    assert_eq!(
        Template::parse(&format!("#set($x = {}1)", "(".repeat(100))).unwrap_err(),
        BadTemplate::TooDeep
    );
}

#[test]
fn what_takes_too_much_fails() {
    let nest = "#foreach($x in [1..1000])".repeat(3) + "." + &"#end".repeat(3);
    assert_eq!(attempt(&nest, ""), Err(Failed::TooLong));
    let double = "#set($x = 'xxxxxxxxxxxxxxxx')#foreach($i in [1..100])#set($x = \"$x$x\")#end$x";
    assert!(attempt(double, "").is_err());
    let grow = "#set($l = [1])#foreach($i in [1..100])$l.addAll($l)#end";
    assert_eq!(attempt(grow, ""), Err(Failed::TooLong));
    let range = "#foreach($i in [-9223372036854775807..9223372036854775807])#end";
    assert_eq!(attempt(range, ""), Err(Failed::TooLong));
    let cycle = "#set($m = {})#set($m.m = $m)$m";
    assert_eq!(attempt(cycle, ""), Err(Failed::TooDeep));
    let look = "#set($x = 'ab')#foreach($i in [1..14])#set($x = \"$x$x\")#end$x.replaceAll('(?=(a+)+b)a', '')";
    assert_eq!(attempt(look, ""), Err(Failed::TooLong));
}

/// The stack of a thread of the data plane bounds how deep an evaluation goes, also without optimisation.
#[test]
fn the_deepest_evaluation_fits_into_a_small_stack() {
    let deepest = "#if([[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]])".to_owned() + "#m()#end";
    let template = format!("#macro(m){deepest}#end#m()");
    let run = move || attempt(&template, "");
    let thread = std::thread::Builder::new().stack_size(1024 * 1024).spawn(run).unwrap();
    assert_eq!(thread.join().unwrap(), Err(Failed::TooDeep));
    let nested = |open: &str, close: &str| format!("{}{}", open.repeat(61), close.repeat(61));
    let templates = [
        nested("#if(true)", "#end"),
        format!("#set($x = {})", nested("[", "]")),
        format!("#set($x = {})", nested("{'a': ", "}").replace("{'a': }", "{'a': 1}")),
        format!("#set($x = {}1{})", "$x.a(".repeat(60), ")".repeat(60)),
        format!("#set($x = {}1)", "!".repeat(60)),
    ];
    let run = move || templates.iter().for_each(|template| drop(attempt(template, "")));
    std::thread::Builder::new().stack_size(1024 * 1024).spawn(run).unwrap().join().unwrap();
}

const PIECES: [&str; 40] = [
    "$x",
    "${x}",
    "$!x",
    "$x.a",
    "$x['a']",
    "$x[0]",
    "$input.body",
    "$input.path('$')",
    "$input.json('$.a')",
    "$context",
    "#set($x = ",
    ")",
    "#if(",
    "#else",
    "#elseif(",
    "#end",
    "#foreach($x in ",
    "$foreach.count",
    "#break",
    "#stop",
    "#macro(m $x)",
    "#m(",
    "#define($x)",
    "[1..9]",
    "[1, 2]",
    "{'a': 1}",
    "'t'",
    "\"$x\"",
    "1",
    "-1.5",
    " + ",
    " / ",
    " == ",
    " && ",
    "!",
    "$x.put('a', $x)",
    "$x.add($x)",
    "$x.replaceAll('(a*)*', '$1')",
    "\\",
    "\n",
];

proptest! {
    #[test]
    fn hostile_templates_do_no_harm(pieces in prop::collection::vec(0..PIECES.len(), 0..25), noise in "\\PC{0,6}", body in "[\\{\\}\\[\\]\":a1,\\PC]{0,20}") {
        let text: String = pieces.iter().map(|piece| PIECES[*piece]).collect::<String>() + &noise;
        if let Ok(template) = Template::parse(&text) {
            let scope = Scope { input: Input { body: &body, ..Input::default() }, context: context(), ..Scope::default() };
            let _ = template.render(&scope);
        }
    }

    #[test]
    fn text_without_marks_is_itself(text in "[^$#\\\\]{0,80}") {
        prop_assert_eq!(make(&text), text.trim());
    }
}
