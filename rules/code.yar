// What countersign looks for in source code beside the rules that are part of the program: text that is
// encoded where those do not look, and patterns over several tokens or lines.
//
// A rule that has `can` and neither `severity` nor `score` is no finding: it counts in meetings (see
// docs/scanning.md). `score` is from 0 to 100; from 60 `baseline` holds.

rule words_in_base64
{
    meta:
        description = "holds words that start programs or fetch code, encoded in base64"
        kinds = "code"
        path_exclude = "*.map,*.min.css"
        can = "obfuscation+decode"
    strings:
        $a = "child_process" base64
        $b = "process.env" base64
        $c = "import subprocess" base64
        $d = "os.system(" base64
        $e = "urllib.request" base64
        $f = "/bin/bash -c" base64
        $g = "curl -fsSL " base64
        $h = "Invoke-Expression" base64 base64wide
        $i = "DownloadString(" base64 base64wide
        $map = "sourceMappingURL=data:"
        $wasm = "data:application/wasm"
    condition:
        any of ($a, $b, $c, $d, $e, $f, $g, $h, $i) and not any of ($map, $wasm)
}

rule letters_by_number
{
    meta:
        description = "puts a text together letter by letter"
        kinds = "code"
        can = "obfuscation+decode"
    strings:
        $js = /String\.fromCharCode\((0x[0-9a-fA-F]{2}|\d{2,3})(\s?,\s?(0x[0-9a-fA-F]{2}|\d{2,3})){15}/
        $py = /(chr\(\d{2,3}\)\s?\+\s?){10}/
        $ps = /(\[char\]\d{2,3}\s?\+\s?){8}/ nocase
    condition:
        any of them
}

rule array_that_is_rotated
{
    meta:
        description = "unscrambles its own words in a loop that ends by an error"
        kinds = "code"
        can = "obfuscation"
    strings:
        $loop = /while\s?\(\s?!!\[\]\s?\)\s?\{\s?try\s?\{/
        $turn = "['push'](" 
        $shift = "['shift']()"
    condition:
        $loop and $turn and $shift
}

rule builtins_by_name
{
    meta:
        description = "reaches interpreters by a name that it puts together"
        kinds = "code"
        path_include = "*.py,*.pyw,*.pth"
        can = "obfuscation+evaluate"
    strings:
        $import = /getattr\(\s?__import__\(\s?['"](builtins|os|subprocess|base64|zlib|marshal)['"]/
        $lambda = /\(lambda\s+__\w{0,24}\s?:\s?exec\(/
        $reverse = /exec\([^\n]{0,80}\[::-1\][^\n]{0,40}decompress\(/
    condition:
        any of them
}

rule encoded_powershell
{
    meta:
        description = "starts PowerShell with an encoded command"
        kinds = "code"
        can = "execute+decode+obfuscation"
        score = 70
        confidence = "medium"
    strings:
        $a = /powershell(\.exe)?["']?[^\n]{0,60}\s["']?-e(nc|ncodedcommand)?["']?[\s,]{1,3}["']?[A-Za-z0-9+\/]{60}/ nocase
    condition:
        $a
}

rule secrets_of_a_workflow
{
    meta:
        description = "writes a workflow that sends all secrets of a repository away"
        kinds = "code"
        can = "credentials+harvest"
        score = 66
        confidence = "medium"
    strings:
        $all = /\$\{\{\s?toJSON\(secrets\)\s?\}\}/ nocase
        $folder = ".github/workflows"
    condition:
        all of them
}

rule memory_of_a_runner
{
    meta:
        description = "reads secrets out of the memory of a build's runner"
        kinds = "code"
        can = "credentials+harvest"
        score = 90
        confidence = "high"
    strings:
        $runner = "Runner.Worker"
        $memory = /\/proc\/[^\n]{1,40}\/(mem|maps)/
    condition:
        all of them
}
