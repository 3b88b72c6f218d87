use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<Vec<Node<'_>>, IndexError> {
    parse("the document", text, &IndexLimits::default())
}

/// The tree in a compact form, for comparison.
fn shown(node: &Node<'_>) -> String {
    match &node.value {
        Value::Nothing => "~".to_owned(),
        Value::Text(t) => format!("{t:?}"),
        Value::Word(w) => (*w).to_owned(),
        Value::List(l) => format!("[{}]", l.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Map(m) => {
            let all: Vec<_> = m.iter().map(|(k, v)| format!("{k}={}", shown(v))).collect();
            format!("{{{}}}", all.join(" "))
        }
    }
}

#[test]
fn what_lock_files_hold_is_read() {
    for (text, want) in [
        ("a: 1\nb: 'x''y'\nc: \"\\u00e9\\n\"\n", "{a=1 b=\"x'y\" c=\"é\\n\"}"),
        ("a:\n  b:\n    c: d\n  e: f # end\ng:\n", "{a={b={c=d} e=f} g=~}"),
        (
            "a:\n- 1\n- x: 1\n  y: 2\n-\n  z: 3\nb: [x64, '!x', {c: d}]",
            "{a=[1 {x=1 y=2} {z=3}] b=[x64 \"!x\" {c=d}]}",
        ),
        ("a:\n  - - 1\n    - 2\n", "{a=[[1 2]]}"),
        (
            "/@s/n/1.0.0_x@1:\n  resolution: {integrity: sha512-a==, tarball: https://h.example/x.tgz}\n",
            "{/@s/n/1.0.0_x@1={resolution={integrity=sha512-a== tarball=https://h.example/x.tgz}}}",
        ),
        (
            "? \"long key\"\n:\n  version: 1\n? other\n: x: 1\n  y: 2\nz: 3\n",
            "{long key={version=1} other={x=1 y=2} z=3}",
        ),
        (
            "a: |-\n  text: no\n\n   key # no\nb: >\n  more\nc: 1",
            "{a=\"text: no\\n\\nkey # no\" b=\"more\" c=1}",
        ),
        ("'@s/n@1.0.0(p@2)': {}\nx: []\n", "{@s/n@1.0.0(p@2)={} x=[]}"),
        ("key:\n  'on the next line'\n", "{key=\"on the next line\"}"),
        ("a: http://h.example:80/x#y\n", "{a=http://h.example:80/x#y}"),
    ] {
        let read = read(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(shown(&read[0]), want, "{text}");
    }
}

#[test]
fn documents_and_lines() {
    let read = read("# head\n---\na: 1\n---\n\nb:\n  c: 2\n").unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!(read[1].get("b").map(|n| n.line), Some(6));
    assert_eq!(read[1].get("b").unwrap().get("c").map(|n| n.line), Some(7));
}

#[test]
fn what_is_outside_the_subset_is_an_error() {
    for text in [
        "a: &x 1\nb: *x\n",
        "a: !!str x\n",
        "a: 1\na: 2\n",
        "a: {b: 1, b: 2}\n",
        "a: 'x\n  y'\n",
        "a: x\n  y\n",
        "a: [1,\n  2]\n",
        "a: {b: 1\n",
        "\ta: 1\n",
        "a:\n  b: 1\n c: 2\n",
        "a: b: c\n",
        "<<<<<<< HEAD\na: 1\n",
        "a: @x\n",
        "a: \"\\q\"\n",
        "a: 'x' y\n",
        "? a\nb: 1\n",
        "%YAML 1.2\n---\na: 1\n",
        "a: |q\n  x\n",
        "- 1\nb: 2\n",
        "*a: 1\n",
        "a: {b}\n",
        "a: [x #y]\n",
    ] {
        assert!(read(text).is_err(), "{text}: {:?}", read(text));
    }
    let deep: String = (0..200).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    assert!(matches!(read(&deep), Err(IndexError::TooDeep { .. })));
    assert!(matches!(read(&format!("a: {}", "[".repeat(200))), Err(IndexError::TooDeep { .. })));
    assert!(read(&format!("a: {}1", "- ".repeat(200))).is_err());
}

proptest! {
    #[test]
    fn any_text_is_a_tree_or_an_error(text in "[-a:?{}\\[\\],'\"#&| \n>é\\\\]{0,60}|\\PC{0,40}") {
        let _ = read(&text);
    }

    #[test]
    fn maps_of_texts_are_read_back(map in prop::collection::btree_map("\\PC{1,12}", "\\PC{0,12}", 1..12)) {
        let text: String = map
            .iter()
            .map(|(k, v)| format!("'{}': '{}'\n", k.replace('\'', "''"), v.replace('\'', "''")))
            .collect();
        let read = read(&text).unwrap();
        let got: Vec<_> = read[0].entries().iter().map(|(k, v)| (k.to_string(), v.text().unwrap().to_owned())).collect();
        let want: Vec<_> = map.into_iter().collect();
        prop_assert_eq!(got, want);
    }
}
