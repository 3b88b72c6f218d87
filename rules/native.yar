// What countersign looks for in compiled code, which the rules that are part of the program do not read.

rule native_miner
{
    meta:
        description = "is compiled code that mines"
        kinds = "native"
        score = 70
        confidence = "medium"
    strings:
        $a = "stratum+tcp://"
        $b = "stratum+ssl://"
        $c = "xmrig"
        $d = "donate-level"
        $e = "cryptonight"
        $f = "randomx_create_vm"
    condition:
        3 of them
}

rule native_remote_shell
{
    meta:
        description = "is compiled code that gives a shell to a remote host"
        kinds = "native"
        score = 75
        confidence = "medium"
    strings:
        $shell = /\/bin\/(ba)?sh -i/
        $tcp = "/dev/tcp/"
    condition:
        all of them
}

rule native_preload
{
    meta:
        description = "is compiled code that puts itself into every program and hides files and connections"
        kinds = "native"
        score = 75
        confidence = "medium"
    strings:
        $preload = "/etc/ld.so.preload"
        $list = "readdir64"
        $net = "/proc/net/tcp"
        $next = "dlsym"
    condition:
        all of them
}

rule native_collects_credentials
{
    meta:
        description = "is compiled code that names many places of credentials"
        kinds = "native"
        score = 64
        confidence = "medium"
    strings:
        $ssh = ".ssh/id_rsa"
        $aws = ".aws/credentials"
        $npm = ".npmrc"
        $pypi = ".pypirc"
        $kube = ".kube/config"
        $browser = "Login Data"
        $wallet = "wallet.dat"
        $git = ".git-credentials"
    condition:
        4 of them
}

rule native_drops_data
{
    meta:
        description = "is compiled code that names a host where stolen data is dropped"
        kinds = "native"
        score = 62
        confidence = "medium"
    strings:
        $discord = "discord.com/api/webhooks/"
        $telegram = "api.telegram.org/bot"
        $onion = /[a-z2-7]{56}\.onion/
    condition:
        any of them
}

rule native_packed
{
    meta:
        description = "is compiled code that is packed, so that nobody can look into it"
        kinds = "native"
        severity = "low"
        confidence = "high"
    strings:
        $mark = "UPX!"
        $says = "This file is packed with the UPX executable packer"
    condition:
        $mark and $says
}
