echo monitoring done
