"""`spanmill view`: a web page of this machine over the output of a job, and over two outputs side by side."""
