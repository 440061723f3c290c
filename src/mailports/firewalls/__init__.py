"""How each firewall spells a rule: redirects and gates read from what its tools print. Pure.

`nft` reads nftables' JSON, `iptables` the text of the save tools, `netfilter` puts the two together
without counting a rule twice. `chains` follows jumps and `asks` says what a packet must be; both are
shared. Nothing here runs a program or opens a file.
"""
