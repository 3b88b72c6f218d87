//! Licences by the sentences that only their texts have.
//!
//! A comparison with all 700 texts of the SPDX list wants them in memory, ten milliseconds a file,
//! and an answer by likeness. What packages carry is nearly always one of the few below, word by word
//! but for names and years, so that a few of its sentences tell it, and the wrong ones exclude it.

/// A licence and what its text says, in words of lower case with single blanks between.
struct Text {
    id: &'static str,
    /// All of these are there.
    all: &'static [&'static str],
    /// None of these.
    none: &'static [&'static str],
}

const fn text(
    id: &'static str,
    all: &'static [&'static str],
    none: &'static [&'static str],
) -> Text {
    Text { id, all, none }
}

const MIT_GRANT: &str =
    "permission is hereby granted free of charge to any person obtaining a copy of this software";
const MIT_NOTICE: &str = "copyright notice and this permission notice";
const BSD: &str =
    "redistribution and use in source and binary forms with or without modification are permitted";
const BSD_BINARY: &str = "redistributions in binary form must reproduce";
const ENDORSE: &str = "to endorse or promote products derived from";
const ISC: &str = "distribute this software for any purpose with or without fee is hereby granted";
const ISC_NOTICE: &str =
    "provided that the above copyright notice and this permission notice appear in all copies";
const ALTERED: &str = "altered source versions must be plainly marked as such";

const TEXTS: &[Text] = &[
    text(
        "MIT",
        &[MIT_GRANT, MIT_NOTICE],
        &["except as contained in this notice the name", "redistributions of source code"],
    ),
    text("X11", &[MIT_GRANT, MIT_NOTICE, "except as contained in this notice the name"], &[]),
    text(
        "MIT-0",
        &[MIT_GRANT, "the software is provided as is"],
        &[MIT_NOTICE, "redistributions of source code"],
    ),
    text("NCSA", &[MIT_GRANT, "deal with the software without restriction", BSD_BINARY], &[]),
    text("JSON", &[MIT_GRANT, "shall be used for good not evil"], &[]),
    text("Apache-2.0", &["apache license", "version 2 0 january 2004"], &[]),
    text(
        "Apache-2.0",
        &["licensed under the apache license version 2 0"],
        &["version 2 0 january 2004"],
    ),
    text("LLVM-exception", &["llvm exceptions to the apache 2 0 license"], &[]),
    text("BSD-3-Clause", &[BSD, BSD_BINARY, ENDORSE], &["all advertising materials", ALTERED]),
    text("BSD-4-Clause", &[BSD, BSD_BINARY, "all advertising materials"], &[]),
    text("BSD-2-Clause", &[BSD, BSD_BINARY], &[ENDORSE, "all advertising materials", ALTERED]),
    text("BSD-1-Clause", &[BSD], &[BSD_BINARY, ALTERED]),
    text("bzip2-1.0.6", &[BSD, ALTERED, ENDORSE], &[]),
    text("ISC", &[ISC, ISC_NOTICE], &[]),
    text("0BSD", &[ISC], &[ISC_NOTICE]),
    text("Zlib", &["in no event will the authors be held liable for any damages", ALTERED], &[BSD]),
    text("BSL-1.0", &["boost software license version 1 0"], &[]),
    text("MPL-2.0", &["mozilla public license version 2 0"], &[]),
    text("MPL-1.1", &["mozilla public license version 1 1"], &[]),
    text(
        "Unlicense",
        &["this is free and unencumbered software released into the public domain"],
        &[],
    ),
    // Files that name two licences and hold the text of none.
    text("MIT", &["dual licensed under the unlicense and mit"], &[]),
    text("Unlicense", &["dual licensed under the unlicense and mit"], &[]),
    text("CC0-1.0", &["cc0 1 0 universal"], &[]),
    text(
        "CC-BY-4.0",
        &["attribution 4 0 international"],
        &["noncommercial", "sharealike 4 0 international"],
    ),
    text("CC-BY-SA-4.0", &["attribution sharealike 4 0 international"], &[]),
    text("CC-BY-3.0", &["creative commons", "attribution 3 0 unported"], &[]),
    text("GPL-2.0", &["gnu general public license version 2 june 1991"], &[]),
    text("GPL-3.0", &["gnu general public license version 3 29 june 2007"], &[]),
    text("LGPL-2.0", &["gnu library general public license version 2 june 1991"], &[]),
    text("LGPL-2.1", &["gnu lesser general public license version 2 1 february 1999"], &[]),
    text("LGPL-3.0", &["gnu lesser general public license version 3 29 june 2007"], &[]),
    text("AGPL-3.0", &["gnu affero general public license version 3 19 november 2007"], &[]),
    text("Unicode-3.0", &["unicode license v3"], &[]),
    text("Unicode-DFS-2016", &["unicode inc license agreement data files and software"], &[]),
    text("CDLA-Permissive-2.0", &["community data license agreement permissive version 2 0"], &[]),
    text("PSF-2.0", &["python software foundation license version 2"], &[]),
    text("Artistic-2.0", &["the artistic license 2 0"], &[]),
    text("EPL-1.0", &["eclipse public license v 1 0"], &[]),
    text("EPL-2.0", &["eclipse public license v 2 0"], &[]),
    text("EUPL-1.2", &["european union public licence v 1 2"], &[]),
    text("OpenSSL", &["openssl license", BSD, "openssl toolkit"], &[]),
    text("OFL-1.1", &["sil open font license version 1 1"], &[]),
    text("BlueOak-1.0.0", &["blue oak model license"], &[]),
    text(
        "HPND",
        &[
            "permission to use copy modify and distribute this software and its documentation for any purpose and without fee is hereby granted",
        ],
        &[],
    ),
    text("ZPL-2.1", &["zope public license zpl version 2 1"], &[]),
    text("WTFPL", &["do what the fuck you want to public license"], &[]),
    text("SSPL-1.0", &["server side public license"], &[]),
    text("BUSL-1.1", &["business source license 1 1"], &[]),
    text("Elastic-2.0", &["elastic license 2 0"], &[]),
];

/// The licences whose text, or a reference that grants them, is in `content`. Sorted.
pub(super) fn found(content: &[u8]) -> Vec<&'static str> {
    let words = normalize(content);
    let has = |phrase: &&str| words.contains(*phrase);
    let mut ids: Vec<&'static str> = TEXTS
        .iter()
        .filter(|t| t.all.iter().all(|p| has(&p)) && !t.none.iter().any(|p| has(&p)))
        .map(|t| t.id)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Letters and digits in lower case, with a blank for whatever stands between.
fn normalize(content: &[u8]) -> String {
    let text = String::from_utf8_lossy(content);
    let mut out = String::with_capacity(text.len());
    let mut gap = false;
    for c in text.chars() {
        if c.is_alphanumeric() {
            if gap && !out.is_empty() {
                out.push(' ');
            }
            gap = false;
            out.extend(c.to_lowercase());
        } else {
            gap = true;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told_by_their_sentences() {
        let mit = "Permission is hereby granted, free of charge, to any person obtaining a copy\n * of this software and \
            associated … The above copyright notice and this\n * permission notice shall be included";
        assert_eq!(found(mit.as_bytes()), ["MIT"]);
        let mit0 = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software \
            … THE SOFTWARE IS PROVIDED \"AS IS\"";
        assert_eq!(found(mit0.as_bytes()), ["MIT-0"]);
        let bsd = "Redistribution and use in source and binary forms, with or without modification, are permitted \
            provided … Redistributions in binary form must reproduce";
        assert_eq!(found(bsd.as_bytes()), ["BSD-2-Clause"]);
        let both = format!("{mit}\n{bsd} … used to endorse or promote products derived from");
        assert_eq!(found(both.as_bytes()), ["BSD-3-Clause", "MIT"]);
        assert_eq!(found(b"All rights reserved."), Vec::<&str>::new());
        assert_eq!(found(&[0xff, 0xfe]), Vec::<&str>::new());
    }

    #[test]
    fn phrases_are_in_the_form_that_is_looked_for() {
        for t in TEXTS {
            for phrase in t.all.iter().chain(t.none) {
                assert_eq!(normalize(phrase.as_bytes()), **phrase, "{}", t.id);
            }
        }
    }
}
