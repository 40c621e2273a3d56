"""python -m tripoint"""

from tripoint.cli.main import main

main()
