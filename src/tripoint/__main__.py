"""python -m tripoint"""

from tripoint.cli.entry import main

main()
