# The Makefile's own comments as help: "##@ heading" and "target: ...  ## what it does".
BEGIN { FS = ":.*## "; print "make stage1 up    a stage, then what to do with it" }
/^##@ / { printf "\n%s\n", substr($0, 5) }
/^[a-z][a-z-]*:.*## / { printf "  %-16s %s\n", $1, $2 }
