from audiochunk.cli import main

main()
